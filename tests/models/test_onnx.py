"""Graphs against ONNX's own reference evaluator, which shares no code with PyTorch or a runtime."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

import limner
from limner.core.config import TrainingConfig
from limner.core.errors import LimnerError, UsageError
from limner.core.signal import Signal
from limner.models.ensemble import Ensemble, EnsembleConfig, Member
from limner.models.model import Model, build
from limner.models.onnx import largest_difference, moved, through, to_onnx
from limner.models.runtimes import start
from limner.tasks.generate import Generate

HEADER = {
    "method": "toy", "config": {"width": 4}, "sha256": "ab12", "card": "# a card",
    "data": {"name": "noise", "licence": "CC0-1.0", "attribution": "Ann Lee"},
}  # fmt: skip


class Toy(Generate):
    """A dense layer whose bias follows the class."""

    conditional = True
    latent = 3

    def __init__(self, config, signal):
        super().__init__(config, signal)
        self.generator = nn.Linear(3, 4)
        self.embedding = nn.Embedding(5, 4)

    def step(self, batch):
        raise NotImplementedError

    def generate(self, z, label=None):
        return (self.generator(z) + self.embedding(label)).view(-1, 1, 2, 2)


class Dice(Toy):
    """A method that draws numbers of its own, which no graph can repeat."""

    def generate(self, z, label=None):
        return super().generate(z, label) + torch.rand(len(z), 1, 2, 2)


def model(method, header=HEADER):
    return Model(Path("toy.safetensors"), header, method.eval())


def small(kind):
    return kind(TrainingConfig(), Signal(channels=1, size=(2, 2), classes=5))


def dcgan():
    torch.manual_seed(1)
    # So wide that its convolutions go through frequencies where they are not told to be plain.
    return build("dcgan", {"width": 16, "latent": 6}, Signal(channels=1, size=(28, 28)))


@pytest.fixture(scope="module")
def toy():
    """A method and its graph."""
    method = small(Toy)
    return method, to_onnx(model(method), 18)


@pytest.fixture(scope="module")
def painter():
    """A method of convolutions and its graph."""
    method = dcgan().eval()
    return method, to_onnx(model(method))


def reference(graph, **inputs):
    return ReferenceEvaluator(onnx.load_from_string(graph)).run(None, {k: v.numpy() for k, v in inputs.items()})[0]


def test_a_dcgan_s_graph_makes_the_same_pictures(painter):
    (method, graph), z = painter, torch.randn(3, 6)
    np.testing.assert_allclose(reference(graph, z=z), method.draw(z), atol=1e-5)


def test_a_class_is_asked_for_by_label(toy):
    (method, graph), z, label = toy, torch.randn(7, 3), torch.tensor([0, 1, 2, 3, 4, 4, 0])
    weight, bias = method.generator.weight.detach(), method.generator.bias.detach()
    expected = (z @ weight.T + bias + method.embedding.weight.detach()[label]).clamp(-1, 1).view(7, 1, 2, 2)
    np.testing.assert_allclose(reference(graph, z=z, label=label), expected, atol=1e-6)
    np.testing.assert_allclose(through(start(graph, "onnxruntime"), method)(z, label), expected, atol=1e-6)
    assert largest_difference(model(method), start(graph, "onnxruntime")) < 1e-6


def test_the_file_says_what_it_is(toy):
    read = onnx.load_from_string(toy[1])
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*read.graph.input, *read.graph.output)
    }
    assert shapes == {"z": ["batch", 3], "label": ["batch"], "image": ["batch", 1, 2, 2]}
    assert [item.version for item in read.opset_import if not item.domain] == [18]
    assert (read.producer_name, read.producer_version) == ("limner", limner.__version__)
    assert read.doc_string == "# a card"
    facts = {item.key: item.value for item in read.metadata_props}
    assert json.loads(facts["recipe"]) == {"method": "toy", "model": "ab12", "settings": {"width": 4}}
    assert facts["value_range"].startswith("-1 to 1") and facts["z"] == "standard normal"
    assert (facts["data"], facts["data_licence"], facts["data_attribution"]) == ("noise", "CC0-1.0", "Ann Lee")


def test_the_file_tells_nothing_of_the_machine(painter):
    for told in (Path(limner.__file__).parents[2], Path(torch.__file__).parents[1], 'File "', "generate("):
        assert str(told).encode() not in painter[1]


def test_the_same_model_gives_the_same_bytes(painter):
    assert to_onnx(model(dcgan())) == painter[1]


def test_convolutions_by_frequency_are_written_as_convolutions(painter):
    nodes = onnx.load_from_string(painter[1]).graph.node
    assert [node.op_type for node in nodes].count("ConvTranspose") == 3


def test_points_are_samples_and_not_images():
    made = build("gan", {"width": 4, "latent": 2}, Signal(channels=2))
    (output,) = onnx.load_from_string(to_onnx(model(made))).graph.output
    assert output.name == "sample"


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_a_graph_that_is_not_the_model_is_refused(toy, error):
    run = start(toy[1], "onnxruntime")
    with pytest.raises(LimnerError, match=r"at batch 1 its samples differ from PyTorch's by .*, and 0.0001 is allowed"):
        largest_difference(model(toy[0]), lambda inputs: run(inputs) + np.float32(error))


def test_a_method_with_dice_of_its_own_is_refused():
    with pytest.raises(LimnerError, match="is not the model"):
        moved(model(small(Dice)), "onnxruntime")


def test_only_what_generates_is_exported():
    with pytest.raises(UsageError, match=r"toy\.safetensors is a model of toy, and only those"):
        to_onnx(Model(Path("toy.safetensors"), HEADER, nn.Identity()))


def test_steps_that_cannot_be_recorded_are_refused_in_a_line():
    class Deciding(Toy):
        passes = 2

        def generate(self, z, label=None):
            return super().generate(z if z.sum() > 0 else -z, label)

    with pytest.raises(LimnerError, match="toy cannot be written as a graph: "):
        to_onnx(model(small(Deciding)))


def test_what_openvino_cannot_run_is_said_in_a_line():
    with pytest.raises(
        LimnerError, match=r"OpenVINO cannot run this model's graph: .*Unable to read the model.*\nhint: "
    ):
        start(b"no graph", "openvino")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_moved_model_generates_the_same(runtime):
    method = dcgan()
    there, difference = moved(model(method), runtime)
    assert 0 < difference < 1e-5
    own, other = (m.generate(300, seed=4).array.astype(int) for m in (model(method), there))
    assert other.shape == (300, 1, 28, 28) and np.abs(own - other).max() <= 1
    assert own.std() > 0


def test_an_ensemble_is_refused():
    config = EnsembleConfig(members=tuple(Member(method="gan", config={}, sha256="", weight=0.5) for _ in range(2)))
    signal = Signal(channels=1, size=(2, 2))
    joined = Ensemble(config, signal, [build("gan", {"width": 4, "latent": 2}, signal) for _ in range(2)])
    with pytest.raises(UsageError, match="is an ensemble, in which each sample's noise picks who makes it"):
        to_onnx(model(joined))
