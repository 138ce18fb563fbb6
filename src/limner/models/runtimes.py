"""Runtimes: programs other than PyTorch that run an ONNX graph. All are optional and imported when they are named."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch

from limner.core.errors import LimnerError, missing_extra

Runtime = Literal["onnxruntime", "openvino"]

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""A graph that is ready: arrays by the names of its inputs go in, the array of its only output comes out."""


def start(graph: bytes, runtime: Runtime, threads: int | None = None) -> Run:
    """Make a graph ready on the CPU, in float32.

    graph    an ONNX file's content
    threads  as many as PyTorch uses where it is not given
    raises   LimnerError   if the runtime is not installed
    """
    begin = {"onnxruntime": _onnxruntime, "openvino": _openvino}[runtime]
    return begin(graph, threads or torch.get_num_threads())


def _onnxruntime(graph: bytes, threads: int) -> Run:
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("ONNX Runtime", "export") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda inputs: np.asarray(session.run(None, dict(inputs))[0])


def _openvino(graph: bytes, threads: int) -> Run:
    core = _quiet_openvino().Core()
    # Left to itself it computes in bfloat16 where the processor can, which moves pictures by far more than rounding.
    choices = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    try:
        compiled = core.compile_model(core.read_model(graph), "CPU", choices)
    except RuntimeError as error:
        # It knows no loop whose body reads what stands outside, as a diffusion model's with classes does.
        raise LimnerError(
            f"OpenVINO cannot run this model's graph: {' '.join(str(error).split())[:300]}",
            "use --backend onnxruntime, or leave it out",
        ) from error
    return lambda inputs: np.array(compiled(dict(inputs))[0])


def _quiet_openvino() -> Any:
    """The module, which at its import reports its use to its maker and writes to the home folder; here it does not.

    It goes without its reporting part where that is not installed, so that one is hidden for as long as it looks.
    """
    told = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        raise missing_extra("OpenVINO", "openvino") from None
    finally:
        if told is None:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = told
    return openvino
