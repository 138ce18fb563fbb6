"""The doctor: verdicts from signals, signals from logs, and runs that are broken on purpose."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

import limner
from limner.core import catalog
from limner.core.errors import UsageError
from limner.core.events import Event, Finished, Note, Table, Warned
from limner.core.random import generator
from limner.core.tensorfile import read_tensors
from limner.data.cache import finish
from limner.data.pack import write_pack
from limner.data.sources import open_data
from limner.metrics.interval import Interval
from limner.metrics.memorisation import memorisation
from limner.nn.measure import measurement
from limner.operations.doctor import (
    ADVICE,
    Doctor,
    Signals,
    _copying,
    _memory,
    _newest_weights,
    _opened,
    diagnose,
    doctor,
    from_log,
)
from limner.training import checkpoint
from limner.training.checkpoint import Checkpoint
from limner.training.snapshot import classes_come_in

NATURAL, HIGH = Interval(0.5, 0.48, 0.53), Interval(0.8, 0.75, 0.85)
WELL = Signals(
    state="finished", steps=5000, planned=5000, epochs=12.0, loss=1.4, sign_rate=0.8, discriminator_loss=1.1,
    generator_gradient=2.0, rate_ratio=1.0, diversity=0.9, precision=0.6, coverage=0.5, real_precision=0.95,
    real_coverage=0.97, modes_made=10, modes_there=10, modes=0.9, copying=NATURAL, memory=NATURAL,
)  # fmt: skip
WON: dict[str, Any] = {"sign_rate": 1.0, "discriminator_loss": 0.01, "won_at": 500}


def verdict(**signals: Any) -> tuple[str, bool]:
    found = diagnose(replace(WELL, **signals))
    assert found.verdict == next(iter(found.reasons))
    assert all(found.reasons.values())
    return found.verdict, found.sure


# --- verdicts from signals ----------------------------------------------------------------------------------------


def test_healthy_needs_all_of_the_evidence() -> None:
    assert verdict() == ("healthy", True)
    assert verdict(modes=None, memory=None) == ("healthy", True)  # data without classes, without unseen pictures
    for name in ("loss", "diversity", "precision", "coverage", "copying"):
        assert verdict(**{name: None}) == ("unclear", False)


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ({"gave_up": True}, "diverged"),
        ({"loss": 1e6}, "diverged"),
        ({"loss": float("inf")}, "diverged"),
        ({"reloads": 1, "late_reloads": 1}, "diverged"),
        ({"loss": 5000.0, "most": 4000.0}, "diverged"),
        ({"loss": 1e6, "steps": 20, "diversity": 0.0}, "diverged"),
        ({"steps": 20, "diversity": 0.05, "precision": 0.0, "coverage": 0.0}, "too little training"),
        ({"precision": 0.02, "coverage": 0.0, "modes": 0.1}, "too little training"),
        ({"copying": HIGH}, "over-fitting/memorising"),
        ({"memory": HIGH}, "over-fitting/memorising"),
        ({"memory": HIGH, **WON}, "over-fitting/memorising"),
        ({"diversity": 0.1}, "mode collapse"),
        ({"modes": 0.5}, "mode collapse"),
        ({"modes": None, "precision": 0.9, "coverage": 0.1}, "mode collapse"),
        ({**WON, "precision": 0.0, "coverage": 0.0}, "discriminator overpowering"),
        ({**WON, "precision": 0.0, "diversity": 0.1, "rate_ratio": 200.0}, "discriminator overpowering"),
        (
            {**WON, "precision": 0.0, "diversity": 0.1, "generator_gradient": 0.0, "generator_loss": -1e-6},
            "discriminator overpowering",
        ),
    ],
)
def test_each_ailment_is_known_by_its_signs(signals: dict[str, Any], expected: str) -> None:
    assert verdict(**signals) == (expected, True)


def test_mixed_evidence_is_called_so() -> None:
    # Alike samples, and a discriminator that always wins: either may be the cause.
    assert verdict(**WON, diversity=0.1) == ("mode collapse", False)
    # It won while the samples were varied: it led.
    assert verdict(**WON, diversity=0.1, alike_at=900) == ("discriminator overpowering", True)
    assert verdict(**{**WON, "won_at": 900}, diversity=0.1, alike_at=500) == ("mode collapse", False)
    # It always wins, and yet the samples are good.
    assert verdict(**WON) == ("discriminator overpowering", False)
    # It may know its few pictures by heart, and there are no others to ask it about.
    assert verdict(**WON, precision=0.0, memory=None) == ("discriminator overpowering", True)
    assert verdict(**WON, precision=0.0, memory=None, epochs=500.0) == ("discriminator overpowering", False)
    # It lacks kinds, but reaches more of the data all the time.
    assert verdict(modes=0.5, gained=0.01) == ("mode collapse", True)
    assert verdict(modes=0.5, gained=0.3) == ("mode collapse", False)
    assert verdict(gained=0.3) == ("healthy", True)
    # All is well but for coverage, which falls.
    assert verdict(gained=-0.05) == ("healthy", True)
    assert verdict(gained=-0.2) == ("healthy", False)
    # The guard went back long ago, and all has been well since.
    assert verdict(reloads=1) == ("healthy", False)
    assert verdict(copying=HIGH, modes=0.4) == ("over-fitting/memorising", False)


def test_a_loss_that_is_no_cross_entropy_does_not_tell_how_sure_the_discriminator_is() -> None:
    """A critic ranks nearly all pairs rightly and its loss is below 0 while all is well."""
    critic: dict[str, Any] = {"odds": False, "sign_rate": 1.0, "discriminator_loss": -6.3}
    assert verdict(**critic) == ("healthy", True)
    assert verdict(**critic, precision=0.0, coverage=0.0, generator_gradient=1e-5) == (
        "discriminator overpowering", True,
    )  # fmt: skip


def test_a_generator_that_broke_down_by_itself_is_not_the_discriminators_fault() -> None:
    """Its loss is far from flat and yet moves nothing. The discriminator wins then, before samples are looked at."""
    dead: dict[str, Any] = {**WON, "diversity": 0.0, "precision": 0.0, "generator_gradient": 0.0, "generator_loss": 7.0}
    for alike_at in (None, 400, 900):
        found = diagnose(replace(WELL, **dead, alike_at=alike_at))
        assert found.verdict == "mode collapse" and found.sure
        assert "by itself" in found.reasons["mode collapse"]


def test_samples_that_are_all_alike_are_no_copies() -> None:
    """They are as one sample, which may happen to lie close to a training picture."""
    assert verdict(diversity=0.05, precision=1.0, coverage=0.002, modes=0.1, copying=HIGH) == ("mode collapse", True)


def test_a_winning_discriminator_that_saw_few_pictures_often_needs_less_to_be_thought_to_know_them_by_heart() -> None:
    some = Interval(0.55, 0.51, 0.59)
    assert verdict(sign_rate=0.999, memory=some, epochs=900.0, modes=0.4)[0] == "over-fitting/memorising"
    assert verdict(sign_rate=0.999, memory=some, epochs=5.0, modes=0.4)[0] == "mode collapse"
    assert verdict(sign_rate=0.95, memory=some, epochs=900.0, modes=0.4)[0] == "mode collapse"
    assert verdict(sign_rate=0.999, memory=NATURAL, epochs=900.0, modes=0.4)[0] == "mode collapse"


def test_modes_of_samples_that_look_like_nothing_do_not_count() -> None:
    assert "mode collapse" not in diagnose(replace(WELL, precision=0.05, coverage=0.0, modes=0.1)).reasons


def test_copies_are_told_from_samples_in_a_crowded_spot() -> None:
    luck = generator(0, "copies")
    training, unseen = torch.randn(500, 4, generator=luck), torch.randn(500, 4, generator=luck)
    assert _copying(unseen, training, 0).value == pytest.approx(0.5, abs=0.05)
    copies = training + 0.01 * torch.randn(500, 4, generator=luck)
    assert _copying(copies, training, 0).low > 0.98
    half = torch.cat([copies[:250], unseen[:250]])
    assert _copying(half, training, 0).value == pytest.approx(0.75, abs=0.05)
    crowded = 0.3 * torch.randn(500, 4, generator=luck)
    assert _copying(crowded, training, 0).high < 0.6
    assert memorisation(crowded, unseen, training).nearer.low > 0.6  # which the distance alone takes for copying


def test_a_discriminator_that_knows_its_pictures_is_found_at_any_level_of_its_scores() -> None:
    luck = generator(0, "scores")
    known, new = torch.randn(1000, generator=luck), torch.randn(1000, generator=luck)
    for shift in (-100.0, 0.0, 100.0):
        assert _memory([(known + shift, new + shift)], 0).value == pytest.approx(0.5, abs=0.03)
        assert _memory([(known + shift, new + shift - 5)], 0).low > 0.95
    assert _memory([(torch.ones(50), torch.ones(60))], 0).value == 0.5


def test_several_looks_see_through_the_whims_of_one() -> None:
    luck = generator(0, "looks")
    looks = [(torch.randn(500, generator=luck) + 0.2, torch.randn(500, generator=luck)) for _ in range(9)]
    alone = [_memory([look], 0).value for look in looks]
    assert max(alone) < 0.62 < _memory(looks, 0).low


def test_what_was_not_seen_is_said() -> None:
    assert diagnose(WELL).missing == ()
    assert diagnose(replace(WELL, memory=None)).missing == (
        "whether the discriminator learns by heart is unknown without unseen pictures (--held-out)",
    )
    assert diagnose(replace(WELL, memory=None, mute="as it judges packs")).missing == (
        "whether the discriminator learns by heart is unknown as it judges packs",
    )
    assert diagnose(replace(WELL, precision=None)).missing == ("the samples could not be held against the data",)


def test_every_verdict_has_its_advice() -> None:
    page = (Path(limner.__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert all(f"## {name}" in page for name in ADVICE)


# --- signals from logs --------------------------------------------------------------------------------------------


def log(count: int, **values: float) -> list[dict[str, Any]]:
    """A start, and training lines every 25 steps of a batch of 10 over 100 samples."""
    start = {"event": "start", "step": 0, "data": {"count": 100}}
    steps = range(25, 25 * count + 1, 25)
    return [start, *({"event": "train", "step": step, "seen": 10 * step, **values} for step in steps)]


def test_a_log_gives_means_over_the_last_quarter() -> None:
    lines = log(8, generator_loss=-1.0, discriminator_loss=0.5, sign_rate=0.7, generator_gradient=3.0)
    lines[8] |= {"generator_loss": -3.0, "sign_rate": 0.9}
    found = from_log(lines, 400, "stopped")
    assert (found.steps, found.planned, found.epochs, found.state) == (200, 400, 20.0, "stopped")
    assert (found.loss, found.sign_rate, found.discriminator_loss) == (3.0, pytest.approx(0.8), 0.5)
    assert (found.generator_gradient, found.won_at, found.alike_at, found.diversity) == (3.0, None, None, None)
    assert (found.reloads, found.gave_up) == (0, False)


@pytest.mark.parametrize(("first", "last", "well"), [
    (40_000.0, 15_000.0, True), (40_000.0, 90_000.0, False), (-50.0, -900.0, True), (-50.0, 70.0, False),
    (0.9, 1.1, True), (15.0, float("inf"), False),
])  # fmt: skip
def test_a_loss_without_a_game_is_held_against_its_beginning(first: float, last: float, well: bool) -> None:
    """Nats of a large colour picture, a density's, and a denoiser's error."""
    lines = log(80, autoencoder_loss=first)
    for line in lines[30:]:
        line["autoencoder_loss"] = last
    found = from_log(lines, 0, "finished")
    assert found.loss == last
    assert (diagnose(found).verdict != "diverged") == well


def test_critics_win_only_where_nothing_reaches_the_generator() -> None:
    lines = log(80, discriminator_loss=-7.0, sign_rate=1.0, generator_gradient=3.0)
    assert from_log(lines, 0, "finished", odds=False).won_at is None
    for line in lines[41:]:
        line["generator_gradient"] = 1e-6
    assert from_log(lines, 0, "finished", odds=False).won_at == 41 * 25


def test_a_log_tells_when_the_discriminator_began_to_win_for_good() -> None:
    lines = log(80, discriminator_loss=0.01, sign_rate=1.0)
    for line in lines[1:41]:  # it did not in the middle of the first half
        line |= {"sign_rate": 0.8 if line["step"] > 500 else 1.0}
    assert from_log(lines, 0, "finished").won_at == 41 * 25


def test_a_log_tells_when_the_samples_became_alike() -> None:
    def watched(*ratios: float) -> list[dict[str, Any]]:
        return [{"event": "diversity", "step": 250 * i, "ratio": ratio} for i, ratio in enumerate(ratios, 1)]

    assert from_log(watched(0.1, 0.2, 0.1), 0, "finished").alike_at is None
    assert from_log(watched(0.1, 0.8, 0.2, 0.9), 0, "finished").alike_at is None
    assert from_log(watched(0.1, 0.8, 0.2, 0.1), 0, "finished").alike_at == 750
    assert from_log(watched(0.1, 0.8, 0.2, 0.1), 0, "finished").diversity == 0.1


def test_a_log_tells_that_the_guard_gave_up() -> None:
    back = {"event": "guard", "step": 50, "action": "reload"}
    assert not from_log([*log(4), back], 0, "stopped").gave_up
    assert not from_log([*log(4), back, back], 0, "finished").gave_up
    assert from_log([*log(4), back, back], 0, "stopped").gave_up
    assert from_log([*log(4), {**back, "action": "stop"}], 0, "stopped").gave_up
    found = from_log([*log(4), back, {**back, "step": 90}], 0, "finished")
    assert (found.reloads, found.late_reloads) == (2, 1)


# --- runs ---------------------------------------------------------------------------------------------------------

TINY: dict[str, Any] = {"width": 16, "latent": 8, "batch": 32, "threads": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in packs with a part that nobody trains on: 1,397 + 400 of them, and 100 + 400."""
    folder = tmp_path_factory.mktemp("doctor")
    digits = finish(open_data("digits"))
    assert digits.labels is not None
    about = {"source": "scikit-learn", "classes": digits.manifest.classes}
    for name, count in (("digits", 1397), ("few", 100)):
        for part, rows in (("train", slice(0, count)), ("test", slice(1397, None))):
            place = folder / name / part
            place.mkdir(parents=True)
            write_pack(place, digits.samples[rows], digits.labels[rows], name=name, split=part, **about)
    return folder


def trained(out: Path, method: str = "gan", **choices: Any) -> Path:
    list(limner.train(method, **{**TINY, **choices, "out": out}))
    return out


@pytest.fixture(scope="module")
def short(home: Path) -> Path:
    """Twenty steps: all files of a run, and nothing learnt."""
    return trained(home / "short", data=str(home / "digits"), steps=20, checkpoint_every=10)


def examined(run: Path, **choices: Any) -> tuple[list[Event], dict[str, Any]]:
    events = list(doctor(Doctor(run=run, threads=1, samples=choices.pop("samples", 400), **choices)))
    assert isinstance(events[-1], Finished)
    json.dumps(events[-1].record(), allow_nan=False)
    return events, events[-1].values


@pytest.mark.parametrize(
    ("method", "choices"),
    [
        ("gan", {"conditioning": "concat"}),
        ("wgan_gp", {}),
        ("r3gan", {"network": "dense", "conditioning": "projection"}),
    ],
)
def test_critics_and_those_that_know_classes_are_asked_too(
    method: str, choices: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    """Only the order of scores counts, so it does not matter at which level they lie."""
    run = trained(tmp_path / "a", method, data=str(home / "digits"), steps=20, **choices)
    rows = [row for event in examined(run)[0] if isinstance(event, Table) for row in event.rows]
    assert [row[1] for row in rows if row[0] == "training data scored above unseen data"] != []


def test_those_that_know_classes_are_not_asked_about_others(home: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "a", data=str(home / "digits"), steps=20, conditioning="concat")
    test = finish(open_data(str(home / "digits"), split="test"))
    (tmp_path / "bare").mkdir()
    write_pack(tmp_path / "bare", test.samples, None, name="bare", source="scikit-learn")
    rows = [row for event in examined(run, held_out=str(tmp_path / "bare"))[0] if isinstance(event, Table)
            for row in event.rows]  # fmt: skip
    assert "training data scored above unseen data" not in [row[0] for row in rows]


def test_packs_are_no_single_samples(home: Path, tmp_path: Path) -> None:
    """So unseen pictures would not tell what a PacGAN knows by heart, and nobody is asked for any."""
    run = trained(tmp_path / "a", "pacgan", data=str(home / "digits"), steps=20, network="dense")
    events, found = examined(run)
    assert found["missing"] == [
        "whether the discriminator learns by heart is unknown as it does not score single samples"
    ]
    assert isinstance(events[-1], Finished)
    assert not any("--held-out" in command for command in events[-1].next)


def test_a_vae_of_colour_pictures_has_losses_of_thousands(home: Path) -> None:
    run = trained(home / "nats", "vae", data="digits", size=32, colour="colour", network="dense", latent=8, steps=60)
    _, found = examined(run)
    assert found["signals"]["loss"] > 1000
    assert found["verdict"] == "too little training"


def test_too_little_training(short: Path) -> None:
    events, found = examined(short)
    assert (found["verdict"], found["sure"]) == ("too little training", True)
    told, evidence = (event for event in events if isinstance(event, Table))
    assert told.title.splitlines() == [
        f"{short}, finished at step 20 of 20: too little training",
        "  20 steps are few: before 1,000, samples and losses say little",
        "  what helps: train longer before judging",
    ]
    assert evidence.columns == ("signal", "value", "healthy", "")
    assert evidence.rows[0] == ("steps", "20, 0.5 passes over the data", "1,000 or more", "off")
    assert isinstance(events[-1], Finished)
    assert events[-1].next == (f"limner train --resume {short} --steps 5000",)
    assert found["signals"]["memory"].keys() == {"value", "low", "high"}


def test_a_huge_rate_diverges(home: Path) -> None:
    high = {"lr": 1.0}
    run = trained(home / "hot", data=str(home / "digits"), steps=100, generator=high, discriminator=high)
    events, found = examined(run)
    assert (found["verdict"], found["sure"]) == ("diverged", True)
    assert isinstance(events[-1], Finished)
    assert events[-1].next == (f"limner train --config {run} --generator.lr 0.1 --discriminator.lr 0.1",)


def test_a_fast_discriminator_overpowers(home: Path) -> None:
    rates = {"generator": {"lr": 1e-5}, "discriminator": {"lr": 5e-3}}
    run = trained(home / "fast", data=str(home / "digits"), steps=1000, **rates)
    events, found = examined(run)
    assert found["verdict"] == "discriminator overpowering"
    assert isinstance(events[-1], Finished)
    assert events[-1].next[0] == f"limner train --config {run} --discriminator.lr 1e-05"


def test_a_plain_gan_loses_modes_of_the_ring(home: Path) -> None:
    # Five of five seeds and lengths tried lost modes so; smaller networks end differently by the last bit of a product.
    _, found = examined(trained(home / "ring", data="ring", width=128, latent=2, batch=128, steps=1500))
    assert found["verdict"] == "mode collapse"
    assert found["signals"]["modes"] < 0.7


def test_few_pictures_are_learnt_by_heart(home: Path) -> None:
    run = trained(home / "by-heart", data=str(home / "few"), width=64, steps=1200, checkpoint_every=400)
    events, found = examined(run)
    assert found["verdict"] == "over-fitting/memorising"
    assert isinstance(events[-1], Finished)
    assert events[-1].next[1] == f"limner train --config {run} --augment diffaugment"


def test_a_dcgan_of_digits_is_healthy(home: Path) -> None:
    run = trained(home / "well", "dcgan", data=str(home / "digits"), variant="paper", latent=16, width=8, steps=1200)
    events, found = examined(run)
    assert (found["verdict"], found["sure"]) == ("healthy", True), found
    assert isinstance(events[-1], Finished)
    assert events[-1].next[0] == f"limner evaluate {run}/model.safetensors --data {home}/digits"


# --- what may be missing ------------------------------------------------------------------------------------------


@pytest.fixture
def copy(short: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(short, tmp_path / "copy"))


def test_an_interrupted_run_is_judged_by_its_newest_checkpoint(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    checkpoint.newest_first(copy / "checkpoints")[0].unlink()
    events, found = examined(copy)
    assert found["verdict"] == "too little training"
    assert Note("the newest whole weights are those of step 10, so samples are made with these") in events
    assert "stopped at step 20 of 20" in next(event.title for event in events if isinstance(event, Table))


def test_a_finished_run_without_checkpoints_is_judged_by_its_model(copy: Path, short: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    without, before = (examined(run)[1]["signals"] for run in (copy, short))
    for pooled in ("gained", "memory"):  # which look at earlier checkpoints as well
        before.pop(pooled)
        without.pop(pooled, None)
    assert without == before


def test_a_damaged_checkpoint_is_passed_over(copy: Path) -> None:
    newest = checkpoint.newest_first(copy / "checkpoints")[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    events, _ = examined(copy)
    assert any(isinstance(event, Warned) and f"{newest} was cut short" in event.text for event in events)


def test_a_run_without_weights_is_judged_by_its_log(copy: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    (copy / "model.safetensors").unlink()
    events, found = examined(copy)
    assert Note("there are no weights to make samples with, so the log alone is looked at") in events
    assert found["verdict"] == "too little training"
    assert "the samples could not be held against the data" in found["missing"]


def test_data_that_are_gone_or_others_are_not_compared_with(copy: Path, tmp_path: Path) -> None:
    settings = json.loads((copy / "settings.json").read_text())
    for data, said in ((str(tmp_path / "gone"), "cannot be opened"), ("digits", "digits has changed since the run")):
        (copy / "settings.json").write_text(json.dumps({**settings, "data": data}))
        events, found = examined(copy)
        assert any(isinstance(event, Warned) and said in event.text for event in events)
        assert "the samples could not be held against the data" in found["missing"]


def test_unseen_data_may_be_given(copy: Path, home: Path) -> None:
    assert examined(copy, held_out=str(home / "few"))[1]["signals"]["memory"]


def test_a_running_run_is_named_so(copy: Path) -> None:
    with FileLock(copy / ".lock"):
        events, _ = examined(copy)
    assert "running at step 20" in next(event.title for event in events if isinstance(event, Table))
    assert isinstance(events[-1], Finished)
    assert events[-1].next == (f"limner doctor {copy}",)


# --- errors -------------------------------------------------------------------------------------------------------


def refused(run: Path, **choices: Any) -> str:
    with pytest.raises(UsageError) as caught:
        list(doctor(Doctor(run=run, **choices)))
    return str(caught.value)


def test_what_is_no_run_is_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "copi") == f"there is no run {tmp_path}/copi\nhint: did you mean '{tmp_path}/copy'?"
    assert refused(tmp_path / "empty") == (
        f"{tmp_path}/empty is not a run: it has no settings.json\nhint: give the folder that training wrote to"
    )
    assert refused(copy / "model.safetensors") == (
        f"{copy}/model.safetensors is a file, not a run folder\nhint: limner doctor {copy}"
    )


def test_a_run_without_a_log_is_refused(copy: Path) -> None:
    (copy / "log.jsonl").write_text('{"event": "sta')
    assert refused(copy) == f"{copy} has no log of any training yet\nhint: limner train --resume {copy}"
    (copy / "log.jsonl").unlink()
    assert refused(copy) == f"{copy} has no log of any training yet\nhint: limner train --resume {copy}"


def test_settings_without_a_method_are_refused(copy: Path) -> None:
    (copy / "settings.json").write_text("{}")
    assert refused(copy) == (f"{copy}/settings.json names no method\nhint: give the folder that training wrote to")


def test_held_out_data_must_be_others_of_the_same_kind(copy: Path, home: Path, tmp_path: Path) -> None:
    train = home / "digits" / "train"
    assert refused(copy, held_out=str(train)) == (
        f"the run learned from {train}, so it is not held out\nhint: give real data that it never saw"
    )
    assert refused(copy, held_out="ring") == (
        "ring holds points with 2 coordinates, and the run learned 8×8 px, grey\nhint: give data of the same kind"
    )


@pytest.mark.parametrize("measured", [False, True])
def test_measured_data_are_compared_with_measured_samples(
    measured: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A perfect generator of clean digits: its samples, measured, lie among measured data as real ones do. A
    discriminator that saw clean pictures measured is not asked about them as they are."""
    kind, source = catalog.method("gan"), home / "digits"
    clean = finish(open_data(str(source), split="test"))
    if measured:
        form = measurement("pad-rotate-project", clean.signal)
        for part in ("train", "test"):
            data = finish(open_data(str(source), split=part))
            u = torch.rand(len(data), form.draws, generator=torch.Generator().manual_seed(len(data)))
            bytes_ = form.apply(data.take(np.arange(len(data)))["x"], u).add(1).mul(127.5).round().byte().numpy()
            (tmp_path / "spoilt" / part).mkdir(parents=True)
            write_pack(tmp_path / "spoilt" / part, bytes_, None, name="spoilt", split=part, source="a test")
        source = tmp_path / "spoilt"
    run = trained(tmp_path / "a", data=str(source), steps=20, measure="pad-rotate-project", measured=measured)
    monkeypatch.setattr(kind, "draw", lambda self, z, *rest: clean.take(np.arange(len(z)) % len(clean))["x"])
    found = examined(run)[1]["signals"]
    assert found["precision"] == pytest.approx(found["real_precision"], abs=0.1)
    assert found["coverage"] > 0.8 * found["real_coverage"]
    assert ("memory" in found) == measured


def test_classes_that_are_rare_in_the_data_are_rare_among_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A perfect generator of three classes, one of them eight times as frequent: even samples would look collapsed."""
    digits = finish(open_data("digits"))
    assert digits.labels is not None
    of = [np.flatnonzero(digits.labels == label) for label in range(3)]
    rows = np.concatenate([of[0][:80], of[1][:10], of[2][:10]])
    (tmp_path / "uneven").mkdir()
    write_pack(tmp_path / "uneven", digits.samples[rows], digits.labels[rows], name="uneven", source="scikit-learn",
               classes=("0", "1", "2"))  # fmt: skip
    run = trained(tmp_path / "a", data=str(tmp_path / "uneven"), steps=20, conditioning="concat")

    def generate(self: Any, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        which = (z[:, 0].abs() * 1e5).long()
        return digits.take(np.array([of[k][80:][i % 90] for k, i in zip(label.tolist(), which.tolist(), strict=True)]))[
            "x"
        ]

    monkeypatch.setattr(catalog.method("gan"), "generate", generate)
    found = examined(run)[1]["signals"]
    assert found["modes"] > 0.9 and found["modes_there"] == 3
    assert found["coverage"] > 0.7 * found["real_coverage"]


@pytest.mark.parametrize("left", ["checkpoints", "model"])
def test_ada_s_set_aside_pictures_are_unseen_data(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    digits = finish(open_data(str(home / "digits")))
    (tmp_path / "all").mkdir()
    write_pack(tmp_path / "all", digits.samples, None, name="all", source="scikit-learn")
    run = trained(tmp_path / "a", data=str(tmp_path / "all"), steps=20, augment="ada")
    assert "memory" in examined(run)[1]["signals"]
    if left == "model":
        shutil.rmtree(run / "checkpoints")
    held: list[tuple[Any, ...]] = []

    def compared(*given: Any) -> Any:
        held.append(given)
        return given[2]

    monkeypatch.setattr("limner.operations.doctor._compared", compared)
    said = [[event.text for event in examined(run, **more)[0] if isinstance(event, Warned)]
            for more in ({}, {"held_out": "digits"})]  # fmt: skip
    assert not said[0] and "digits is not what the run learned" in said[1][0]
    (data, unseen), (known, other) = (given[3:5] for given in held)
    assert not set(data.rows) & set(unseen.rows) and len(data) + len(unseen) == len(digits)
    assert set(known.rows) == set(data.rows), "pictures of one's own do not make learned those that were set aside"
    assert other.manifest.sha256 != data.manifest.sha256


def test_a_checkpoint_from_before_the_classes_knows_none(home: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "a", data=str(home / "digits"), steps=20, conditioning="projection", checkpoint_every=10,
                  transition=(0.4, 0.6))  # fmt: skip
    weights, _ = _newest_weights(_opened(run))
    assert weights is not None
    early = weights.earlier[0]
    z, label = torch.randn(10, 8, generator=torch.Generator().manual_seed(1)), torch.arange(10)
    assert torch.equal(early.generate(z, label), early.generate(z, label.flip(0)))
    assert not torch.equal(weights.method.generate(z, label), weights.method.generate(z, label.flip(0)))
    steps = [run / "checkpoints" / f"step-000000{step}.safetensors" for step in (10, 20)]
    header, tensors = read_tensors(steps[0], checkpoint.KIND)
    without = {name: value for name, value in tensors.items() if not name.startswith("wrap.transition.")}
    assert not classes_come_in(Checkpoint(steps[0], header, without), (0.4, 0.6)), "nothing held them back then"
    with pytest.raises(UsageError, match="is from before its classes were in"):
        list(limner.ensemble(*steps, out=tmp_path / "m.safetensors"))
    list(limner.ensemble(steps[1], out=tmp_path / "m.safetensors"))
