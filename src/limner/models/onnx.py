"""ONNX: a trained method as a graph that other programs run, and the proof that it makes the same pictures."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from limner.core import __version__
from limner.core.errors import LimnerError, UsageError, missing_extra
from limner.core.random import normal
from limner.models.ensemble import Ensemble
from limner.models.model import Draw, Model
from limner.models.runtimes import Run, Runtime, start
from limner.nn.conv import plain
from limner.tasks.generate import Generate

OPSET = 20
"""Version of ONNX's operators that every runtime of the last years knows."""
TOLERANCE = 1e-4
"""How far a value in [-1, 1] may be from PyTorch's; a step of a picture's 256 is 78 times as large."""
BATCHES = (1, 2, 5, 16)
"""Batch sizes that are compared: a graph that was traced with one must hold for all."""
_TOGETHER = 250
"""Samples that a graph makes at a time."""
_LARGEST = 2_000_000_000  # bytes of weights; a protocol buffer ends at 2 GiB


class _Verb(nn.Module):
    """What is exported: noise to samples as `Generate.draw` gives them."""

    def __init__(self, method: Generate) -> None:
        super().__init__()
        self.method = method

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.method.generate(z, label).float().clamp(-1, 1)


def to_onnx(model: Model, opset: int = OPSET) -> bytes:
    """A generating model as the content of an ONNX file. It is not proven yet: see `largest_difference`.

    The graph's inputs are z (batch, latent) and, where the method makes classes on request, label (batch,) int64; where
    it makes what a caption says, label is the caption's vector.
    Its output is image (batch, C, H, W) in [-1, 1]; where no pictures are made, sample. The batch is free.

    opset   version of ONNX's operators
    raises  UsageError    if the model does not generate
            LimnerError   if a package is missing, or the method cannot be written as a graph
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  PyTorch's exporter needs it
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError:
        raise missing_extra("ONNX with onnxscript", "export") from None
    method = _generating(model)
    if sum(tensor.nbytes for tensor in method.state_dict().values()) > _LARGEST:
        raise LimnerError(f"{model.path} has more than 2 GB of weights, which no single ONNX file can hold")
    names = ["z", "label"] if method.conditional else ["z"]
    example = [one.to(method.device) for one in (torch.zeros(2, method.latent), method.in_turn(2)) if one is not None]
    try:
        with plain(), torch.no_grad(), _quiet():
            verb: Any = _Verb(method).eval()
            if method.passes > 1:
                # There is likely a loop in it. The exporter would do so itself, once its usual way has failed at that.
                verb = _recorded(model, verb, example, names)
            program = torch.onnx.export(
                verb,
                tuple(example),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=names,
                output_names=["image" if method.signal.rank == 2 else "sample"],
                dynamic_shapes={name: {0: "batch"} for name in names},
            )
    except torch.onnx.OnnxExporterError as error:
        raise _unwritable(model, error.__cause__ or error) from error
    assert program is not None
    # PyTorch notes for each operation in which files of this machine it came about.
    ClearMetadataAndDocStringPass()(program.model)
    graph = program.model_proto
    graph.producer_name, graph.producer_version = "limner", __version__
    graph.doc_string = str(model.header.get("card", ""))
    onnx.helper.set_model_props(graph, _facts(model))
    onnx.checker.check_model(graph, full_check=True)
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def _recorded(model: Model, verb: nn.Module, example: Sequence[Tensor], names: Sequence[str]) -> Any:
    free = {name: {0: torch.export.Dim("batch")} for name in names}
    try:
        return torch.export.export(verb, tuple(example), dynamic_shapes=free, strict=True)
    except Exception as error:  # whatever the method's own code meets in there
        raise _unwritable(model, error) from error


def _unwritable(model: Model, error: BaseException) -> LimnerError:
    return LimnerError(f"{model.name} cannot be written as a graph: {' '.join(str(error).split())[:300]}")


def largest_difference(model: Model, run: Run) -> float:
    """How far a graph's samples are from the model's own, over several batch sizes: max |a - b|.

    raises LimnerError   if that is more than TOLERANCE
    """
    method = _generating(model)
    draw = through(run, method)
    worst = 0.0
    for count in BATCHES:
        z = normal(0, count, method.latent, "parity", count)
        difference = float((draw(z, None) - method.draw(z)).abs().max())
        if not difference <= TOLERANCE:
            raise LimnerError(
                f"the graph of {model.path} is not the model: at batch {count} its samples differ from PyTorch's by "
                f"{difference:.2g}, and {TOLERANCE:g} is allowed",
                "try another --opset, and please report it",
            )
        worst = max(worst, difference)
    return worst


def through(run: Run, method: Generate) -> Draw:
    """Drawing the method's samples by its graph, in batches so that memory stays bounded."""

    def draw(z: Tensor, label: Tensor | None) -> Tensor:
        label = method.in_turn(len(z)) if label is None else label
        inputs = {"z": z} if label is None else {"z": z, "label": label}
        batches = zip(*(each.split(_TOGETHER) for each in inputs.values()), strict=True)
        arrays = ({name: part.numpy() for name, part in zip(inputs, batch, strict=True)} for batch in batches)
        return torch.cat([torch.from_numpy(run(batch)) for batch in arrays])

    return draw


def moved(model: Model, runtime: Runtime, opset: int = OPSET) -> tuple[Model, float]:
    """The same model, whose samples another runtime computes, and how far they are from PyTorch's at most.

    raises LimnerError   if the runtime is not installed, or does not make the same samples
    """
    run, method = start(to_onnx(model, opset), runtime), _generating(model)
    return Model(model.path, model.header, method, through(run, method)), largest_difference(model, run)


def _generating(model: Model) -> Generate:
    if isinstance(model.method, Ensemble):
        raise UsageError(
            f"{model.path} is an ensemble, in which each sample's noise picks who makes it; a graph would ask them all",
            "export its members, or sample it with limner sample, without --backend",
        )
    if not isinstance(model.method, Generate):
        raise UsageError(
            f"{model.path} is a model of {model.name}, and only those that make pictures of noise are exported"
        )
    return model.method


def _facts(model: Model) -> dict[str, str]:
    """What the file says of itself, in ONNX's metadata."""
    header = model.header
    data: Mapping[str, Any] = header.get("data") or {}
    recipe = {"method": model.name, "model": model.sha256, "settings": header["config"]}
    return {
        "recipe": json.dumps(recipe, sort_keys=True),
        "value_range": "-1 to 1; a byte is (value + 1) × 127.5, rounded",
        "z": "standard normal",
        "data": str(data.get("name", "")),
        "data_licence": str(data.get("licence", "")),
        "data_attribution": str(data.get("attribution", "")),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what PyTorch's exporter says of itself.

    It calls a name of its own deprecated, remarks that two inputs share their batch, which is meant, and misses
    torchvision, which nobody needs.
    """
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        log.setLevel(level)
