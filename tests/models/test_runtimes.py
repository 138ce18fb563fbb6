"""Runtimes that are not there, and one that would tell others that it is."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from limner.core.errors import LimnerError
from limner.models.runtimes import start


def doubling():
    """A graph that doubles x."""
    x, y = (make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch"]) for name in "xy")
    graph = make_graph([make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])
    return make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=10).SerializeToString()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_runs(runtime):
    run = start(doubling(), runtime, threads=1)
    for values in ([1.5], [2.0, -3.0]):
        assert run({"x": np.array(values, np.float32)}).tolist() == [2 * value for value in values]


@pytest.mark.parametrize(
    ("runtime", "name", "extra"), [("onnxruntime", "ONNX Runtime", "export"), ("openvino", "OpenVINO", "openvino")]
)
def test_a_missing_runtime_is_one_line(runtime, name, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(LimnerError) as error:
        start(b"", runtime)
    assert str(error.value) == f"this needs {name}, which is not installed\nhint: pip install 'limner[{extra}]'"


def test_openvino_reports_to_nobody(tmp_path):
    """Left to itself its import writes an identity into the home folder and sends an event."""
    (tmp_path / "graph").write_bytes(doubling())
    code = (
        "import pathlib, sys; from limner.models.runtimes import start; "
        "start(pathlib.Path('graph').read_bytes(), 'openvino', 1); "
        "sys.exit('openvino_telemetry' in sys.modules)"
    )
    home = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA"), str(tmp_path))
    # It stays silent where CI is set, which would prove nothing.
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | home
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, timeout=120, check=False)
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]
