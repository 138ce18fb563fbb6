"""The command line as a person meets it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.cli.main import COMMANDS, main
from limner.core import catalog
from limner.core.events import Event, Finished, Note
from limner.data.pack import building
from limner.operations import train as training
from limner.operations.show import settings_of

HELP = "see --help for what it takes"


def ran(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    code = main(line.split())
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What training is asked for, in place of the work."""
    calls: list[tuple[Any, ...]] = []

    def train(method: str | None, request: training.Train, config: dict[str, Any]) -> Any:
        calls.append((method, request, config))
        yield Finished("train", {"model": "m"})

    monkeypatch.setattr(training, "train", train)
    return calls


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", COMMANDS)
def test_every_command_has_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, f"{word} --help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: limner {word}") and "--quiet" in out and "\x1b" not in out
    assert ran(capsys, f"help {word}") == (code, out, err)


@pytest.mark.parametrize("line", ["", "--help", "-h", "help"])
def test_the_front_page_names_every_command(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, line)
    assert (code, err) == (0, "")
    assert all(f"\n  {word} " in out for word in COMMANDS)


@pytest.mark.parametrize("method", catalog.names())
def test_every_setting_is_a_flag_with_its_help(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ran(capsys, f"train {method} --help")
    flat = " ".join(out.split())
    for setting in [*settings_of(training.Train), *settings_of(catalog.head(method).Config)]:
        flag = setting.name.replace("_", "-")
        assert f"--{'no-' if setting.default is True else ''}{flag} " in flat
        assert " ".join(setting.help.split()) in flat
        assert setting.limits in flat
    assert out.index("the run:") < out.index("--data") < out.index(f"the method {method}:") < out.index("--batch")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "--version")
    assert code == 0 and out.startswith("limner 0.")


# --- errors, word for word --------------------------------------------------------------------------------------------


def test_a_flag_that_turns_off_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ran(capsys, "train r3gan --help")
    assert "--no-fold Turn off: Fold pictures by 2 px at the image end" in " ".join(out.split())


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("trian dcgan", "there is no command 'trian'", "did you mean 'train'?"),
        ("dcgan", "there is no command 'dcgan'", "limner train dcgan"),
        ("--colour", "limner has no flag --colour", "a command comes first, e.g. limner train dcgan --data mnist"),
        ("train dcgn", "there is no method 'dcgn'", "did you mean 'dcgan'?"),
        ("train dcgn --help", "there is no method 'dcgn'", "did you mean 'dcgan'?"),
        ("train dcgan mnist", "limner train takes one method, and then flags, not 'mnist'",
         "did you mean --data mnist?"),
        ("train dcgan --widht 3", "limner train dcgan has no flag --widht", "did you mean --width?"),
        ("train dcgan --lr 3", "limner train dcgan has no flag --lr",
         "did you mean --generator.lr or --discriminator.lr?"),
        ("train dcgan --width", "--width needs a value", "it takes a whole number, at least 1"),
        ("train dcgan --width 0", "setting 'width': should be greater than or equal to 1, not '0'", HELP),
        ("train dcgan --steps many",
         "setting 'steps': should be a whole number, not 'many'", HELP),
        ("train dcgan --generator.lr 7", "setting 'generator.lr': should be less than or equal to 1, not '7'", HELP),
        ("train dcgan --device gpu", "setting 'device': should be 'auto', 'cpu', 'cuda' or 'mps', not 'gpu'", HELP),
        ("train --resume nowhere", "there is no run nowhere", "give the folder that training wrote to"),
        ("compare runs/a", "setting 'runs' takes at least 2 values, and got 1", HELP),
        ("evaluate a b c", "setting 'what' takes at most 2 values, and got 3", HELP),
        ("evaluate digits --samples 100 --metrics psnr", "psnr compares restored pictures with their originals",
         "limner evaluate RESTORED ORIGINALS --metrics psnr"),
        ("sample", "limner sample needs MODEL", "The model file, or its run folder."),
        ("show dcgn", "there is nothing called 'dcgn'", "did you mean 'dcgan'?"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_explained(line: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, line) == (2, "", f"error: {message}\nhint: {hint}\n")
    code, out, err = ran(capsys, f"{line} --json")
    assert (code, err) == (2, "")
    assert json.loads(out) == {"event": "error", "message": message, "hint": hint, "exit_code": 2}


def test_training_needs_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "train")
    assert code == 2 and err.startswith("error: train needs a method\nhint: there are: ") and "dcgan" in err


def test_files_that_are_no_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, run = tmp_path / "model.safetensors", tmp_path / "run"
    text.write_text("<html>not found</html>")
    run.mkdir()
    for verb in ("sample", "show"):
        code, _, err = ran(capsys, f"{verb} {text}")
        assert code == 1
        assert err.startswith(f"error: {text} is not a limner model: it looks like text or a web page\nhint: ")
    code, _, err = ran(capsys, f"sample {tmp_path / 'gone.safetensors'}")
    assert code == 2 and err.startswith(f"error: there is no file {tmp_path / 'gone.safetensors'}\n")
    code, _, err = ran(capsys, f"sample {run}")
    assert code == 2 and err.startswith(f"error: {run} is a folder with no model.safetensors in it\nhint: ")
    (run / "settings.json").write_text("{}")
    code, _, err = ran(capsys, f"sample {run}")
    assert code == 2 and err.splitlines() == [
        f"error: the run {run} has not finished: it has no model.safetensors yet",
        f"hint: finish it with: limner train --resume {run}",
    ]


def test_a_bug_is_one_line_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> list[str]:
        raise ZeroDivisionError("oh no")

    monkeypatch.setattr(catalog, "names", broken)
    code, _, err = ran(capsys, "show dcgan")
    assert code == 1 and err.splitlines() == [
        "error: limner itself failed: ZeroDivisionError: oh no",
        "hint: run it again with --debug for the traceback, and please report it",
    ]
    code, _, err = ran(capsys, "show dcgan --debug")
    assert code == 1 and err.startswith("Traceback") and "error: limner itself failed" in err


def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "names", interrupted)
    assert ran(capsys, "show dcgan") == (130, "", "interrupted\n")


def test_a_termination_is_143_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(request: Any) -> Iterator[Event]:
        with building(tmp_path / "pack") as temporary:
            (temporary / "half").write_text("made")
            os.kill(os.getpid(), signal.SIGTERM)
            yield Note("never told")

    monkeypatch.setattr("limner.operations.prepare.prepare", stopped)
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = ran(capsys, "prepare digits")
    assert (code, err) == (143, "terminated\n") and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


# --- what training is asked for ---------------------------------------------------------------------------------------


def test_only_given_flags_are_set(asked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "train dcgan --steps 30 --width 8 --generator.lr 2e-4 --deterministic --quiet") == (0, "m\n", "")
    [(method, request, config)] = asked
    assert method == "dcgan"
    assert request.model_fields_set == {"steps", "deterministic"} and request.steps == 30
    assert config == {"width": 8, "generator": {"lr": 2e-4}}


def test_the_method_may_stand_anywhere(asked: list[tuple[Any, ...]]) -> None:
    assert main("--quiet train --width 8 --deterministic gan --steps 3".split()) == 0
    assert asked[0][0] == "gan" and asked[0][2] == {"width": 8}


def test_flags_win_over_the_file(asked: list[tuple[Any, ...]], tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("steps = 5\nseed = 7\nwidth = 16\nlatent = 3\n[generator]\nlr = 1e-3\nbeta1 = 0.3\n")
    assert main(f"train dcgan --config {file} --steps 9 --width 8 --generator.lr 0.5 --quiet".split()) == 0
    [(_, request, config)] = asked
    assert request.model_dump(exclude_unset=True) == {"steps": 9, "seed": 7}
    assert config == {"width": 8, "latent": 3, "generator": {"lr": 0.5, "beta1": 0.3}}


def test_settings_of_an_earlier_run_name_its_method(asked: list[tuple[Any, ...]], tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"method": "gan", "steps": 5, "width": 16}))
    assert main(f"train --config {tmp_path} --width 4 --quiet".split()) == 0
    assert asked[0][0] == "gan" and asked[0][1].steps == 5 and asked[0][2] == {"width": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht = 3", "unknown setting 'widht' in {file}\nhint: did you mean 'width'?"),
        ("width = 0", "setting 'width' in {file}: should be greater than or equal to 1, not 0\nhint: " + HELP),
        ("steps = 0", "setting 'steps' in {file}: should be greater than or equal to 1, not 0\nhint: " + HELP),
        ("[generator]\nlrr = 1", "unknown setting 'generator.lrr' in {file}\nhint: did you mean 'lr'?"),
    ],
)
def test_a_mistake_in_the_file_is_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert ran(capsys, f"train dcgan --config {file}") == (2, "", f"error: {message.format(file=file)}\n")


def test_resuming_knows_the_method_and_passes_only_changes(asked: list[tuple[Any, ...]], tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"method": "gan", "steps": 5, "width": 16}))
    assert main(f"train --resume {tmp_path} --steps 9 --generator.lr 0.5 --quiet".split()) == 0
    [(method, request, config)] = asked
    assert method == "gan" and request.model_fields_set == {"resume", "steps"}
    assert config == {"generator": {"lr": 0.5}}


# --- in a process of its own ------------------------------------------------------------------------------------------


def alone(*arguments: str, code: str = "import limner.__main__ as m, sys; c = m.main(); ") -> Any:
    return subprocess.run(
        [sys.executable, "-c", code + "assert 'torch' not in sys.modules; sys.exit(c)", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code"),
    [("--help", 0), ("list", 0), ("show dcgan", 0), ("train gan --help", 0), ("train gan --widht 3", 2),
     ("train gan --latent 0", 2), ("sample", 2), ("sample nosuch", 2), ("export nosuch", 2), ("ensemble nosuch", 2),
     ("evaluate nosuch", 2), ("evaluate nosuch.safetensors", 2), ("compare nosuch other", 2),
     ("train gan --data ./nosuch", 1)],
)  # fmt: skip
def test_torch_is_loaded_only_for_work(line: str, code: int) -> None:
    done = alone(*line.split())
    assert done.returncode == code, done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_the_front_page_loads_little() -> None:
    heavy = (
        "import limner.__main__ as m, sys; c = m.main(); assert not {'pydantic', 'rich', 'numpy'} & {*sys.modules}; "
    )
    done = alone("--help", code=heavy)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX shell")
def test_a_reader_that_leaves_is_no_error() -> None:
    for line in ("list", "--help", "show gan --json"):
        command = f"{sys.executable} -m limner {line} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr and "Exception" not in done.stderr and "error" not in done.stderr
        assert done.stdout.strip() == "0"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_is_full_or_closed_is_no_bug() -> None:
    for where, code, says in ((">/dev/full", 1, "error: the system refused: no space left on device"), (">&-", 0, "")):
        command = f"{sys.executable} -m limner list {where}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code and done.stderr.startswith(says)
        assert "limner itself failed" not in done.stderr and "Traceback" not in done.stderr


# --- the whole of it --------------------------------------------------------------------------------------------------


def test_train_sample_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    line = f"train gan --data ring --steps 30 --batch 32 --width 8 --device cpu --out {run}"
    code, out, err = ran(capsys, line)
    assert (code, out) == (0, f"{run / 'model.safetensors'}\n"), err
    assert "saved model" in err and "try next:\n  limner sample" in err and "\x1b" not in err
    assert json.loads((run / "settings.json").read_text())["width"] == 8

    code, out, err = ran(capsys, line)
    assert (code, out) == (2, "")
    assert err.endswith(f"error: {run} exists already\nhint: give another --out, or --force to overwrite it\n")

    picture = tmp_path / "points.png"
    assert ran(capsys, f"sample {run} --count 50 --device cpu --out {picture} --quiet") == (0, f"{picture}\n", "")
    code, out, _ = ran(capsys, f"show {picture}")
    assert code == 0 and "method" in out and "gan" in out and "count" in out and "50" in out

    code, out, _ = ran(capsys, f"show {run}")
    assert code == 0 and "finished, at step 30" in out and "generator_loss" in out and "batch   " in out
    code, out, _ = ran(capsys, f"show {run / 'model.safetensors'}")
    assert code == 0 and "# gan trained on ring" in out and "points with 2 coordinates" in out and "sha256" in out

    code, out, _ = ran(capsys, f"show {run / 'model.safetensors'} --json")
    lines = [json.loads(text) for text in out.splitlines()]
    assert code == 0 and lines[-1]["event"] == "finished" and lines[-1]["values"]["method"] == "gan"


def test_a_run_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"train gan --data ring --steps 5 --batch 32 --width 8 --device cpu --json --out {tmp_path / 'run'}"
    code, out, err = ran(capsys, line)
    events = [json.loads(text)["event"] for text in out.splitlines()]
    assert (code, err) == (0, "") and {"note", "progress", "saved"} <= {*events} and events[-1] == "finished"
