"""Layers that see the joined batch, against torch's own on the whole of it."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from toys import ALONE, Duel, learner

import limner
from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.models.model import build
from limner.nn.elementwise import Dropout
from limner.training.joined import Rows, join_layers, refuse_parts

HALVES = """
import sys, torch
import torch.distributed as dist
from torch import nn
from limner.training.joined import Rows, join_layers
from limner.training.world import World

rank, place = int(sys.argv[1]), sys.argv[2]
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + place, rank=rank, world_size=2)

def slopes(layer, x, part):
    "A loss of outputs and of slopes' slopes, as a gradient penalty has, summed over the processes' rows."
    x = x.clone().requires_grad_()
    y = layer(x)
    (slope,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    wanted = [x] + ([layer.weight, layer.bias] if layer.affine else [])
    found = torch.autograd.grad((slope**2).sum() + y.sin().sum(), wanted)
    return [y.detach()[part], slope.detach()[part], found[0][part]], list(found[1:])

for shape, options in (((6, 3), {}), ((6, 3, 5, 4), {}), ((6, 3, 5, 4), {"momentum": None}),
                       ((6, 3, 4), {"affine": False, "eps": 0.1}), ((6, 3), {"track_running_stats": False})):
    torch.manual_seed(0)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    whole, half = kind(3, **options), kind(3, **options)
    if whole.affine:
        nn.init.normal_(whole.weight)
        nn.init.normal_(whole.bias)
        half.load_state_dict(whole.state_dict())
    join_layers(half, Rows(), World(rank, 2, torch.device("cpu")))
    for _ in range(3):
        x = torch.randn(shape) * 3 + 5
        mine = slice(rank * 3, rank * 3 + 3)
        one, weights = slopes(whole, x, mine)
        two, shares = slopes(half, x[mine], slice(None))
        for share in shares:
            dist.all_reduce(share)
        for a, b in zip([*one, *weights, *whole.buffers()], [*two, *shares, *half.buffers()], strict=True):
            torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(half.eval()(x), whole.eval()(x))
# One that leaves while the other still writes to it would end by a signal.
dist.barrier()
dist.destroy_process_group()
print("equal")
"""


def test_batch_statistics_of_two_halves_are_those_of_the_whole(tmp_path):
    """Outputs, slopes, slopes of slopes, weights' gradients and running statistics, in float64."""
    (tmp_path / "halves.py").write_text(HALVES)
    env = {"PYTHONPATH": str(Path(limner.__file__).parents[1]), "OMP_NUM_THREADS": "1", "PATH": ""}
    command = [sys.executable, str(tmp_path / "halves.py")]
    running = [subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for rank in (0, 1)]  # fmt: skip
    for process in running:
        said, _ = process.communicate(timeout=120)
        assert said == "equal\n", said


@pytest.mark.parametrize("kind", [nn.Dropout, Dropout])
def test_parts_take_their_rows_of_the_joined_batch_s_mask(kind):
    whole = kind(0.3)
    method, rows = copy.deepcopy(whole), Rows(parts=3)
    join_layers(method, rows, ALONE)
    x = torch.randn(12, 4, 5, 5)
    torch.manual_seed(0)
    wanted, found = whole(x), []
    for rows.part in range(3):
        torch.manual_seed(0)
        found.append(method(x[rows.part * 4 : rows.part * 4 + 4]))
    assert torch.equal(torch.cat(found), wanted)
    assert torch.equal(method.eval()(x), x)


def test_a_copy_of_a_joined_layer_is_joined_by_itself():
    layer = nn.Sequential(nn.Dropout(0.5))
    join_layers(layer, Rows(parts=2), ALONE)
    other = copy.deepcopy(layer).eval()
    x = torch.ones(8, 8)
    assert torch.equal(other(x), x)
    assert not torch.equal(layer(x), x)


class Uncertain(Duel):
    """A duel whose samples pass a dropout."""

    def __init__(self):
        super().__init__(together=False)
        self.drop = Dropout(0.5)

    def step(self, batch):
        yield from super().step({"x": self.drop(batch["x"])})


def test_accumulated_parts_with_dropout_equal_the_joined_batch():
    x = torch.linspace(-1, 2, 8)[:, None]
    whole, parts = Uncertain(), Uncertain()
    told = learner(whole).step(0, [{"x": x}], 0)
    assert learner(parts).step(0, [{"x": x[:4]}, {"x": x[4:]}], 0) == pytest.approx(told, rel=1e-6)
    assert parts.a.w.item() == pytest.approx(whole.a.w.item(), abs=1e-6)


def test_accumulated_parts_with_spectral_normalisation_equal_the_joined_batch():
    """Weights and the vectors of the power iteration, which one turn of the joined batch turns once for each pass."""
    x = torch.rand(16, 1, 8, 8) * 2 - 1
    found = []
    for parts in (1, 4):
        torch.manual_seed(0)
        made = build("gan", {"network": "dense", "width": 4, "latent": 5, "spectral": True},
                     Signal(channels=1, size=(8, 8)))  # fmt: skip
        taught = learner(made)
        for step in range(3):
            taught.step(step, [{"x": part} for part in x.chunk(parts)], 16 * step)
        found.append(made.state_dict())
    assert any(name.endswith(".left") for name in found[0])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_walked_in_parts_is_refused():
    method = Duel(together=False)
    refuse_parts(method, 2, 2)
    method.norm = nn.BatchNorm1d(1)
    refuse_parts(method, 2, 1)
    with pytest.raises(UsageError, match="batch statistics, so a batch cannot be accumulated from parts"):
        refuse_parts(method, 1, 2)
    del method.norm
    method.batchwise = True
    refuse_parts(method, 1, 1)
    with pytest.raises(UsageError, match="compares the samples of a batch, so processes cannot share one"):
        refuse_parts(method, 2, 1)
