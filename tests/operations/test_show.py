"""What things are, told as tables and plain values."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from filelock import FileLock
from pydantic import Field

from limner.core import catalog
from limner.core.errors import LimnerError, UsageError
from limner.core.events import Event, Finished, Table
from limner.core.settings import Settings
from limner.data.builtin import BUILT_IN
from limner.data.images import save_picture
from limner.data.pack import write_pack
from limner.operations.show import Listing, Setting, Show, in_words, listing, settings_of, show


def shown(thing: str | Path) -> list[Event]:
    return list(show(Show(thing=str(thing))))


def result(events: list[Event]) -> dict[str, Any]:
    assert isinstance(events[-1], Finished)
    return events[-1].values


class Player(Settings):
    lr: float = Field(default=0.1, gt=0, lt=1)
    """Rate."""


class Example(Settings):
    source: Path
    """Where from."""
    count: int | None = Field(default=None, ge=1, le=9)
    """How many."""
    fit: Literal["crop", "pad"] = "pad"
    """How."""
    sizes: tuple[int, ...] = (8, 16)
    """Sizes."""
    force: bool = False
    """Anyway."""
    player: Player = Player(lr=0.5)
    """Who."""


def test_settings_are_drawn_from_fields() -> None:
    assert settings_of(Example) == [
        Setting("source", "Where from.", "PATH", required=True),
        Setting("count", "How many.", "N", limits="1 to 9"),
        Setting("fit", "How.", "crop|pad", default="pad"),
        Setting("sizes", "Sizes.", "N", default=(8, 16), many=True),
        Setting("force", "Anyway.", "", default=False),
        Setting("player.lr", "Rate.", "X", limits="above 0, below 1", default=0.5),
    ]
    assert settings_of(Example)[2].choices == ("crop", "pad")


def test_values_in_words() -> None:
    values = [None, True, False, 1e-4, 0.5, 10.0, 12, (8, 16), "a"]
    assert [in_words(value) for value in values] == ["", "yes", "no", "0.0001", "0.5", "10", "12", "8, 16", "a"]


def test_the_list_has_every_method_and_set() -> None:
    events = list(listing(Listing()))
    methods, sets = (event for event in events if isinstance(event, Table))
    assert sorted(row[0] for row in methods.rows) == catalog.names()
    assert all(all(row) for row in methods.rows)
    assert [row[0] for row in sets.rows] == list(BUILT_IN)
    assert set(result(events)["methods"]) == set(catalog.names())


@pytest.mark.parametrize("name", catalog.names())
def test_a_method_is_shown_with_its_settings(name: str) -> None:
    text, table, done = shown(name)
    assert isinstance(text, Table) and text.title == catalog.head(name).doc and not text.columns
    assert isinstance(table, Table) and isinstance(done, Finished)
    assert [row[0] for row in table.rows] == [setting.name for setting in settings_of(catalog.head(name).Config)]
    assert done.values["settings"] == catalog.head(name).Config().model_dump(mode="json")
    assert done.next[0].startswith(f"limner train {name}")


def test_defaults_of_players_are_the_methods_own() -> None:
    [_, table, _] = shown("gan")
    assert isinstance(table, Table)
    defaults = {row[0]: row[1] for row in table.rows}
    assert defaults["generator.lr"] == "0.0002"


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_set(name: str) -> None:
    assert result(shown(name))["licence"] == BUILT_IN[name].licence


def test_a_pack(tmp_path: Path) -> None:
    samples = np.zeros((3, 1, 4, 4), np.uint8)
    (tmp_path / "train").mkdir()
    write_pack(tmp_path / "train", samples, None, name="mine", source="me", licence="CC0")
    for thing in (tmp_path, tmp_path / "train"):
        [pack] = result(shown(thing))["packs"].values()
        assert (pack["count"], pack["licence"]) == (3, "CC0")
        assert pack["about"] == "mine: 3 train images, 4×4 px, grey"


def test_a_run_says_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"method": "gan", "steps": 50}))
    log = [{"event": "train", "step": 25, "generator_loss": 0.5, "sign_rate": 1.0}, {"event": "epoch", "step": 30}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
    stopped = shown(tmp_path)
    assert result(stopped)["state"] == "stopped at step 30"
    assert result(stopped)["losses"] == {"generator_loss": 0.5}
    assert isinstance(stopped[-1], Finished) and stopped[-1].next == (f"limner train --resume {tmp_path}",)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000031.safetensors").touch()
    with FileLock(tmp_path / ".lock"):
        assert result(shown(tmp_path))["state"] == "running, at step 31"
    (tmp_path / "model.safetensors").touch()
    assert result(shown(tmp_path))["state"] == "finished, at step 31"


def test_a_picture_tells_its_recipe(tmp_path: Path) -> None:
    save_picture(np.zeros((1, 4, 4), np.uint8), tmp_path / "a.png", {"method": "gan", "seed": 3})
    assert result(shown(tmp_path / "a.png")) == {"kind": "picture", "method": "gan", "seed": 3}
    save_picture(np.zeros((1, 4, 4), np.uint8), tmp_path / "b.png")
    with pytest.raises(UsageError, match="carries no recipe"):
        shown(tmp_path / "b.png")


def test_things_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        shown("mnits")
    assert (caught.value.message, caught.value.hint) == ("there is nothing called 'mnits'", "did you mean 'mnist'?")
    with pytest.raises(UsageError) as caught:
        shown(tmp_path)
    assert caught.value.hint == f"if it holds pictures: limner prepare {tmp_path}"
    (tmp_path / "x").write_text("words")
    with pytest.raises(LimnerError, match="is not a limner model"):
        shown(tmp_path / "x")


def test_what_may_not_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *more: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "a").write_text("words")
    for name, thing in (("open", tmp_path / "a"), ("is_file", tmp_path / "a"), ("is_dir", tmp_path / "a"),
                        ("iterdir", tmp_path)):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(type(tmp_path), name, denied)
            with pytest.raises(LimnerError, match=f"cannot read {thing}: permission denied"):
                shown(thing)


def test_a_path_that_is_not_there_gets_the_nearest_one_beside_it(tmp_path):
    (tmp_path / "samples.png").write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        list(show(Show(thing=str(tmp_path / "sample.png"))))
    assert caught.value.hint == f"did you mean '{tmp_path}/samples.png'?"
