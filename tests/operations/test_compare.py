import json
import shutil

import pytest

import limner
from limner.core.errors import UsageError
from limner.core.events import Finished, Table
from limner.core.tensorfile import read_header
from limner.operations.compare import Compare, compare
from limner.operations.evaluate import Evaluate, evaluate


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two short runs that differ in one setting of the method and one of the run; the first is evaluated."""
    root = tmp_path_factory.mktemp("runs")
    for name, rate, seed in (("slow", 1e-4, 1), ("fast", 1e-3, 2)):
        for _ in limner.train("gan", data="digits", steps=30, width=8, batch=16, threads=1, seed=seed,
                              generator={"lr": rate}, out=root / name):  # fmt: skip
            pass
    for _ in evaluate(Evaluate(what=str(root / "slow"), samples=60, features="tiny", metrics=("fd",))):
        pass
    return root


def go(*folders, **choices):
    return list(compare(Compare.read({"runs": folders, **choices})))


def test_side_by_side(runs, tmp_path):
    events = go(runs / "slow", runs / "fast")
    table = next(event for event in events if isinstance(event, Table))
    assert table.columns == ("", "slow", "fast", "real data", "direction")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["FD-tiny"][0] != "–" and rows["FD-tiny"][1] == "–"
    assert rows["generator.lr"][:2] == ("0.0001", "0.001") and rows["seed"][:2] == ("1", "2")
    assert rows["steps done"][:2] == ("30", "30") and "generator loss at the end" in rows
    assert "width" not in rows and "batch" not in rows
    assert table.notes == (f"fast has no figures yet: limner evaluate {runs / 'fast'}",)
    done = events[-1]
    assert isinstance(done, Finished) and set(done.values["differ"]) == {"generator.lr", "seed"}
    page = (tmp_path / "comparison.html").read_text()
    assert "http:" not in page and "https:" not in page and "<script" not in page
    for heading in ("The last previews", "Figures", "Settings that differ", "Training", "Losses over each other"):
        assert heading in page
    assert page.count("data:image/png") == 2


def test_figures_of_another_protocol_are_not_compared(runs):
    file = runs / "fast" / "evaluation" / "report.json"
    file.parent.mkdir()
    report = json.loads((runs / "slow" / "evaluation" / "report.json").read_text())
    report["protocol"]["samples"] = 10_000
    report["subject"]["sha256"] = read_header(runs / "fast/model.safetensors", "model")["sha256"]
    file.write_text(json.dumps(report))
    try:
        events = go(runs / "slow", runs / "fast", out="other.html")
        assert events[-1].values["comparable"] is False
        assert next(e for e in events if isinstance(e, Table)).notes[0].startswith("these evaluations differ in ")
        file.write_text("{")
        assert go(runs / "slow", runs / "fast", out="third.html")[-1].values["comparable"] is True
    finally:
        file.unlink()
        file.parent.rmdir()


def test_figures_of_another_model_do_not_count(runs, tmp_path):
    run = shutil.copytree(runs / "slow", tmp_path / "slow")
    shutil.copy(runs / "fast/model.safetensors", run / "model.safetensors")
    events = go(run, runs / "fast")
    assert events[-1].values["runs"]["slow"]["figures"] == {}
    notes = next(event for event in events if isinstance(event, Table)).notes
    assert f"slow has no figures yet: limner evaluate {run}" in notes


def test_the_last_preview_and_unfinished_runs(runs, tmp_path):
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "settings.json").write_text((runs / "slow" / "settings.json").read_text())
    events = go(runs / "slow", unfinished, out="page.html")
    rows = {row[0]: row[1:] for row in next(e for e in events if isinstance(e, Table)).rows}
    assert rows["steps done"][:2] == ("30", "–")
    assert "no preview yet" in (tmp_path / "page.html").read_text()


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    import shutil

    shutil.copytree(runs / "slow", tmp_path / "again" / "slow")
    events = go(runs / "slow", tmp_path / "again" / "slow", out="page.html")
    names = next(e for e in events if isinstance(e, Table)).columns[1:3]
    assert names == (f"{runs.name}/slow", "again/slow")


def said(*folders, **choices):
    with pytest.raises(UsageError) as caught:
        go(*folders, **choices)
    return caught.value.message, caught.value.hint


def test_what_goes_wrong(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    hint = "give the folders that training wrote to"
    assert said(runs / "slow", "empty") == ("empty is not a run: it has no settings.json", hint)
    assert said(runs / "slow", "nowhere") == ("nowhere is not there", hint)
    assert said(runs / "slow", runs / "slow") == ("the same run was given twice", "give different runs")
    assert said(runs / "slow")[0].startswith("setting 'runs'")
    (tmp_path / "comparison.html").write_text("mine")
    assert said(runs / "slow", runs / "fast") == (
        "comparison.html exists already", "give another --out, or --force to overwrite it",
    )  # fmt: skip
    assert (tmp_path / "comparison.html").read_text() == "mine"
