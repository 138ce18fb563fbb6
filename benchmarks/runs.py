"""Runs of benchmarks: begun, gone on with, or there already. What is finished is never made twice."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import limner
from limner.cli.render import Lines
from limner.core.events import Event

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
    """The model of a run. Choices count for a run that is begun: one that is gone on with keeps its own."""
    model = run / "model.safetensors"
    if model.is_file():
        return model
    if any((run / "checkpoints").glob("step-*.safetensors")):
        tell(limner.train(resume=run))
    else:
        # What was stopped before its first checkpoint begins anew.
        tell(limner.train(method, out=run, force=run.exists(), **choices))
    return model


def evaluated(model: Path, **choices: Any) -> dict[str, Any]:
    """What the model's report holds, made now if it is not there with as many samples and seeds."""
    file = model.parent / "evaluation" / "report.json"
    if not _fits(file, choices):
        tell(limner.evaluate(model, force=True, **choices))
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def _fits(file: Path, choices: Mapping[str, Any]) -> bool:
    if not file.is_file():
        return False
    protocol = json.loads(file.read_text(encoding="utf-8"))["protocol"]
    return protocol["samples"] == choices["samples"] and len(protocol["seeds"]) == choices.get("seeds", 1)


def command(name: str, arguments: Iterable[str] | None) -> str:
    """How a benchmark was called, for its results."""
    return " ".join([f"python benchmarks/{name}.py", *(sys.argv[1:] if arguments is None else arguments)])
