"""Compare: set runs side by side, in a table and on a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from limner.core import __version__, catalog
from limner.core.errors import UsageError, command
from limner.core.events import Event, Finished, Saved, Table
from limner.core.files import refuse_existing, write
from limner.core.settings import Settings

if TYPE_CHECKING:
    from limner.reports.comparison import Run


class Compare(Settings):
    """Which runs, and where the page goes."""

    runs: tuple[Path, ...] = Field(min_length=2, max_length=8)
    """Two to eight run folders, or folders of ensembles."""
    out: Path = Path("comparison.html")
    """The page."""
    force: bool = False
    """Overwrite the page that stands in --out."""


_REPORT = Path("evaluation") / "report.json"


def compare(request: Compare) -> Iterator[Event]:
    """Set runs side by side, telling events; the last is Finished. Figures come from each run's evaluation.

    raises UsageError   if one of them is no run, or the page exists
    """
    refuse_existing(request.out, request.force)
    for folder in request.runs:
        if not any((folder / name).is_file() for name in ("settings.json", "model.safetensors")):
            there = "is not a run: it has no settings.json" if folder.exists() else "is not there"
            raise UsageError(f"{folder} {there}", "give the folders that training wrote to")
    from limner.reports.comparison import comparable, comparison_page, differing, figure_rows, training_rows
    from limner.reports.words import plain

    runs = [_run(folder, name) for folder, name in zip(request.runs, _names(request.runs), strict=True)]
    missing = {run.name: command("evaluate", run.path) for run in runs if run.report is None}
    notes = []
    if not comparable(runs):
        notes.append("these evaluations differ in features, counts or data: their figures can't be compared; "
                     "evaluate the runs alike")  # fmt: skip
    notes += [f"{name} has no figures yet: {command}" for name, command in missing.items()]
    names = tuple(run.name for run in runs)

    figures = figure_rows(runs)
    rows = [(name, *values, real, better) for name, values, real, better in figures]
    rows += [(name, *row, "", "") for name, row in training_rows(runs)]
    rows += [(name, *map(plain, row), "", "") for name, row in differing(runs).items()]
    yield Table("side by side", ("", *names, "real data", "direction"), tuple(rows), tuple(notes))
    page_notes = notes[:1] if not comparable(runs) else []
    page = comparison_page(runs, missing, page_notes, datetime.now(UTC).isoformat(timespec="seconds"), __version__)
    write(request.out, page)
    yield Saved("comparison", request.out)
    yield Finished(
        "compare",
        {
            "page": str(request.out),
            "runs": {run.name: {
                "path": run.path, "training": dict(run.training),
                "figures": {row["name"]: row["value"] for row in (run.report or {}).get("figures", ())},
            } for run in runs},
            "differ": differing(runs), "comparable": comparable(runs),
        },
        tuple(missing.values()),
    )  # fmt: skip


def _names(folders: tuple[Path, ...]) -> list[str]:
    """Each run's folder name; with as much of the path before it as tells them apart."""
    whole = [folder.resolve() for folder in folders]
    for length in range(1, max(len(path.parts) for path in whole) + 1):
        names = ["/".join(path.parts[-length:]) for path in whole]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same run was given twice", "give different runs")


def _run(folder: Path, name: str) -> Run:
    """What the folder of a run, or of a model that was made without one, tells."""
    from limner.core.tensorfile import read_header
    from limner.operations.train import Train, read_config
    from limner.reports.comparison import Run
    from limner.reports.words import flat
    from limner.training.log import read_log

    model = folder / "model.safetensors"
    if not (folder / "settings.json").is_file() and model.is_file():
        header = read_header(model, "model")
        chosen = flat({"method": header["method"], **_told(header["config"])})
        return Run(name, str(folder), chosen, [], header["training"], _report(folder), b"")
    stored = read_config(folder)
    log = read_log(folder / "log.jsonl")
    method = str(stored.pop("method", ""))
    own = catalog.head(method).Config
    of_run = {key: value for key, value in stored.items() if key in Train.model_fields}
    of_method = {key: value for key, value in stored.items() if key in own.model_fields}
    settings: dict[str, Any] = {
        "method": method,
        **Train.read(of_run).model_dump(mode="json", exclude={"out", "resume", "force"}),
        **_settled(folder, own.read(of_method).model_dump(mode="json")),
    }
    grids = sorted((folder / "grids").glob("*.png"), key=lambda path: path.stat().st_mtime)
    return Run(
        name, str(folder), flat(settings), log, _training(log), _report(folder),
        grids[-1].read_bytes() if grids else b"",
    )  # fmt: skip


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with an ensemble's members in a word each."""
    members = config.get("members", ())
    told = {f"member {i}": f"{one['weight']:.1%} {one['method']} {one['sha256'][:8]}" for i, one in enumerate(members)}
    return {key: value for key, value in config.items() if key != "members"} | told


def _settled(folder: Path, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    """The method's settings with what depends on the data filled in, as the finished model's header has them."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return chosen
    from limner.core.tensorfile import read_header

    header: Mapping[str, Any] = read_header(path, "model").get("config", chosen)
    return header


def _training(log: list[dict[str, Any]]) -> dict[str, Any]:
    """How far training is, by its log."""
    last = next((line for line in reversed(log) if line.get("event") == "train"), None)
    return {"steps": last["step"], "images": last["seen"], "seconds": last["seconds"]} if last else {}


def _report(folder: Path) -> Mapping[str, Any] | None:
    """A run's evaluation, if it was made, is whole, and is that of the model which stands there."""
    from limner.core.tensorfile import read_header

    try:
        report = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = isinstance(report, dict) and report.get("kind") == "evaluation" and report.get("format") == 1
    if not fits:
        return None
    model = folder / "model.safetensors"
    # The run may have gone on since, or another one may stand in its place.
    same = not model.is_file() or report.get("subject", {}).get("sha256") == read_header(model, "model")["sha256"]
    return report if same else None
