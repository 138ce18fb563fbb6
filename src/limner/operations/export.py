"""Export: write a trained model as a graph that other programs run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from limner.core.errors import UsageError
from limner.core.events import Event, Finished, Note, Saved
from limner.core.files import refuse_existing, write
from limner.core.settings import Settings


class Export(Settings):
    """What to export, and where to."""

    model: Path
    """The model file, or its run folder."""
    to: Literal["onnx"] = "onnx"
    """The format: ONNX, which ONNX Runtime, OpenVINO, browsers and many others run."""
    out: Path | None = None
    """The file; model.onnx beside the model where it is not given."""
    opset: int = Field(default=20, ge=18, le=25)
    """Version of ONNX's operators. Older programs need a lower one."""
    force: bool = False
    """Overwrite what stands in --out."""


def export(request: Export) -> Iterator[Event]:
    """Write the graph if it makes the same samples as the model, and nothing otherwise; the last event is Finished.

    raises UsageError, ModelError, LimnerError
    """
    from limner.operations.sample import model_file

    path = model_file(request.model)
    out = request.out or path.with_suffix(".onnx")
    if out.suffix.lower() != ".onnx":
        raise UsageError(
            f"a graph is written as .onnx, not {out.suffix or 'without an ending'}",
            f"give --out {out.with_suffix('.onnx')}",
        )
    refuse_existing(out, request.force)

    from limner.models.model import load
    from limner.models.onnx import BATCHES, TOLERANCE, largest_difference, to_onnx
    from limner.models.runtimes import start

    model = load(path)
    graph = to_onnx(model, request.opset)
    difference = largest_difference(model, start(graph, "onnxruntime"))
    batches = f"{', '.join(map(str, BATCHES[:-1]))} and {BATCHES[-1]}"
    yield Note(
        f"parity: in batches of {batches} ONNX Runtime's samples differ from PyTorch's by {difference:.1e} at most "
        f"({TOLERANCE:g} is allowed)"
    )
    write(out, graph)
    yield Saved("graph", out)
    yield Finished(
        "export",
        {"out": str(out), "bytes": len(graph), "opset": request.opset, "largest_difference": float(f"{difference:.2e}"),
         "model": model.sha256},
    )  # fmt: skip
