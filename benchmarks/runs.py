"""Runs of benchmarks: begun, gone on with, or there already. What is finished is never made twice."""

import json
import os
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# As `limner` sets it for itself, before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import limner
from limner.cli.render import Lines
from limner.core.events import Event
from limner.reports.words import flat

RESULTS = Path(__file__).parent / "results"


def tell(events: Iterable[Event]) -> None:
    """Print events as the command line does."""
    face = Lines(quiet=False, out=sys.stdout, err=sys.stderr)
    try:
        for event in events:
            face.tell(event)
    finally:
        face.close()


def trained(run: Path, method: str, **choices: Any) -> Path:
    """The model of a run: there already, gone on with, or begun. What is there must have been chosen alike, but for the
    threads, which change the last digits alone."""
    model = run / "model.safetensors"
    _see_that_it_is_the_same(run, {"method": method, **choices})
    if model.is_file():
        return model
    if any((run / "checkpoints").glob("step-*.safetensors")):
        tell(limner.train(resume=run))
    else:
        # What was stopped before its first checkpoint begins anew.
        tell(limner.train(method, out=run, force=run.exists(), **choices))
    return model


def _see_that_it_is_the_same(run: Path, choices: Mapping[str, Any]) -> None:
    file = run / "settings.json"
    if not file.is_file():
        return
    stored, wanted = (
        flat(json.loads(file.read_text(encoding="utf-8"))),
        flat(json.loads(json.dumps(choices, default=str))),
    )
    differs = [f"{name} is {stored[name]} there and {value} here" for name, value in wanted.items()
               if name != "threads" and stored.get(name, value) != value]  # fmt: skip
    if differs:
        sys.exit(f"{run} is of other settings: {'; '.join(differs)}. Move it away, or give another place for runs.")


def evaluated(model: Path, out: str = "evaluation", **choices: Any) -> dict[str, Any]:
    """What the model's report holds, made now if it is not there with as many samples and seeds.

    out  the report's folder beside the model
    """
    file = model.parent / out / "report.json"
    if not _fits(file, choices):
        tell(limner.evaluate(model, force=True, out=file.parent, **choices))
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def _fits(file: Path, choices: Mapping[str, Any]) -> bool:
    if not file.is_file():
        return False
    protocol = json.loads(file.read_text(encoding="utf-8"))["protocol"]
    return protocol["samples"] == choices["samples"] and len(protocol["seeds"]) == choices.get("seeds", 1)


def table(results: Mapping[str, Sequence[Mapping[str, Mapping[str, Any]]]], names: Sequence[str]) -> list[str]:
    """Markdown: a row for each way, the mean ± the standard deviation over its runs; and the row of real data.

    results  of each way its runs, each with the report's rows by name
    names    the columns
    """
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for way, runs in results.items():
        cells = []
        for name in names:
            values = [run[name]["value"] for run in runs if name in run]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4g}{spread}" if values else "–")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    first = next(iter(results.values()))[0]
    real = [first.get(name, {}).get("real") for name in names]
    cells = [f"{row['value']:.4g}" if row else "" for row in real]
    return [*lines, f"| real data | {' | '.join(cells)} |"]


def command(name: str, arguments: Iterable[str] | None) -> str:
    """How a benchmark was called, for its results."""
    return shlex.join(["python", f"benchmarks/{name}.py", *(sys.argv[1:] if arguments is None else arguments)])
