"""Events become lines, for people and for programs."""

import io
import json
from pathlib import Path

import pytest

from limner.cli import render
from limner.cli.render import Json, Lines, clock, duration, epoch_line, plain_table, progress_line
from limner.core.errors import LimnerError, UsageError
from limner.core.events import Epoch, Event, Finished, Note, Progress, Saved, Table, Warned

PROGRESS = Progress(
    "train", 1200, 21450, "steps", 310.2, "images/s", 751.0, {"discriminator_loss": 1.2141, "generator_loss": 0.8125}
)
EPOCH = Epoch(3, 50, 900, 61.2, {"discriminator_loss": 1.2141, "generator_loss": 0.8125, "sign_rate": 0.9})
TABLE = Table("sets", ("name", "what"), (("mnist", "digits"), ("a", "b\nc")), ("a note",))
DONE = Finished("train", {"model": "r/model.safetensors", "steps": 1200}, ("limner sample r",))
EVERY: list[Event] = [Note("hello"), Warned("careful"), PROGRESS, EPOCH, Saved("grid", Path("g.png")), DONE]


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self) -> bool:
        return True


def told(events: list[Event], quiet: bool = False, terminal: bool = False) -> tuple[str, str]:
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    face = Lines(quiet, out, err)
    for event in events:
        face.tell(event)
    face.close()
    return out.getvalue(), err.getvalue()


def test_lines_word_for_word() -> None:
    assert progress_line(PROGRESS) == (
        "train: 1,200 of 21,450 steps  discriminator 1.214  generator 0.812  310 images/s  12 min 31 s left"
    )
    assert epoch_line(EPOCH) == "epoch  3/50  discriminator 1.214  generator 0.812  61 s"
    assert list(plain_table(TABLE)) == ["sets", "name   what", "mnist  digits", "a      b c", "a note"]


def test_times() -> None:
    assert [duration(s) for s in (0.4, 99, 100, 3599, 3600, 11520)] == [
        "0 s", "99 s", "1 min 40 s", "59 min 59 s", "1 h 0 min", "3 h 12 min",
    ]  # fmt: skip
    assert [clock(s) for s in (9, 725, 11520)] == ["0:09", "12:05", "3:12:00"]


def test_results_go_to_stdout_and_the_rest_to_stderr() -> None:
    out, err = told(EVERY)
    assert out == "r/model.safetensors\n"
    assert err.splitlines() == [
        "hello",
        "warning: careful",
        "epoch  3/50  discriminator 1.214  generator 0.812  61 s",
        "saved grid: g.png",
        "steps 1,200",
        "",
        "try next:",
        "  limner sample r",
    ]


def test_of_thousands_of_epochs_a_hundred_are_told() -> None:
    def lines(of: int) -> list[str]:
        return told([Epoch(n, of, n, 0.1 * n, {}) for n in range(1, of + 1)])[1].splitlines()

    assert len(lines(100)) == 100 and len(lines(130)) == 100
    assert [line.split("/")[0] for line in lines(3200)] == [f"epoch {n:>4}" for n in range(32, 3201, 32)]


def test_quiet_leaves_the_result() -> None:
    assert told(EVERY, quiet=True) == ("r/model.safetensors\n", "")


def test_a_table_is_the_result() -> None:
    out, err = told([TABLE, TABLE, DONE])
    assert out == "\n\n".join(["\n".join(plain_table(TABLE))] * 2) + "\n"
    assert err == "\ntry next:\n  limner sample r\n"


def test_away_from_a_terminal_progress_is_a_line_soon_and_then_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.5, 1.2, 5.0, 11.0, 11.3, 11.4])
    monkeypatch.setattr(render.time, "monotonic", lambda: next(now))
    _, err = told([Progress("train", step, 10, "steps") for step in range(7)])
    assert err.splitlines() == ["train: 2 of 10 steps", "train: 5 of 10 steps"]


def test_there_are_no_escape_codes_away_from_a_terminal() -> None:
    assert "\x1b" not in "".join(told([*EVERY, TABLE]))


def test_a_terminal_has_colours_and_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = told(EVERY, terminal=True)
    assert "\x1b[33mwarning: careful\x1b[0m" in err
    assert " 1,200/21,450" in err and "━" in err and "310 images/s  12:31 left" in err
    assert "\x1b[1mmodel: r/model.safetensors\x1b[0m" in out
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == 1  # the cursor comes back


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_the_bar_fits_its_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    line = render._bar(PROGRESS, width).plain
    assert len(line) <= max(width, 64)
    assert "12:31 left" in line


def test_no_color_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out, err = told([Note("a"), Warned("b"), TABLE, DONE], terminal=True)
    assert "\x1b" not in out + err


def test_a_dumb_terminal_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in "".join(told(EVERY, terminal=True))


def test_text_from_files_cannot_steer_the_terminal() -> None:
    out, err = told([Table("t\x1b]0;evil\x07", ("a",), (("\x1b[2J",),)), Note("n\x1b[31m")])
    assert "\x1b" not in out + err and "\x07" not in out + err


def test_json_is_one_object_a_line() -> None:
    out = io.StringIO()
    face = Json(False, out)
    for event in [*EVERY, TABLE, Epoch(1, 1, 1, 1.0, {"a_loss": float("nan")})]:
        face.tell(event)
    face.fail(UsageError("bad", "better"))
    lines = [json.loads(line, parse_constant=pytest.fail) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "note", "warned", "progress", "epoch", "saved", "finished", "table", "epoch", "error",
    ]  # fmt: skip
    assert lines[-2]["values"] == {"a_loss": None}
    assert lines[-1] == {"event": "error", "message": "bad", "hint": "better", "exit_code": 2}


def test_an_error_says_what_broke_and_what_to_do() -> None:
    err = io.StringIO()
    face = Lines(True, io.StringIO(), err)
    face.fail(UsageError("it broke", "mend it"))
    stopped = LimnerError("stopped at step 5", "go on")
    stopped.exit_code = 130
    face.fail(stopped)
    assert err.getvalue() == "error: it broke\nhint: mend it\nstopped at step 5\nhint: go on\n"
