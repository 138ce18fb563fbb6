"""A recorded step does what the plain loop does, for every sampler and however many samples."""

import pytest
import torch
from torch import nn

from limner.diffusion.levels import karras_levels
from limner.diffusion.samplers import SAMPLERS, latent, sample
from limner.diffusion.scan import scan

SHAPE = (2, 3, 3)


class Sampled(nn.Module):
    """Samples by a denoiser with a weight, told something beside noise, as a method's is."""

    def __init__(self, sampler, levels):
        super().__init__()
        self.sampler, self.levels = sampler, levels
        self.weight = nn.Parameter(torch.tensor(0.7))

    def forward(self, z, label):
        def denoise(x, sigma):
            return self.weight * x / (1 + sigma.view(-1, 1, 1, 1) ** 2) + 0.1 * label.view(-1, 1, 1, 1)

        return sample(self.sampler, denoise, z, self.levels, SHAPE)


@pytest.mark.parametrize(("sampler", "steps"), [*((name, 6) for name in sorted(SAMPLERS)), ("heun", 1)])
def test_a_recorded_sampler_makes_the_same(sampler, steps):
    made = Sampled(sampler, karras_levels(steps, 0.02, 10.0))

    def start(count):
        return torch.randn(count, latent(sampler, steps, 18)), torch.arange(count)

    batch = torch.export.Dim("batch")
    with torch.no_grad():
        recorded = torch.export.export(made, start(2), dynamic_shapes=({0: batch}, {0: batch}), strict=True).module()
        loops = [node for node in recorded.graph.nodes if node.op == "call_function" and "scan" in str(node.target)]
        assert len(loops) == (steps > 1)
        for count in (1, 2, 5):
            z, label = start(count)
            torch.testing.assert_close(recorded(z, label), made(z, label), rtol=1e-5, atol=1e-6)


def test_each_step_sees_its_row_and_what_the_last_returned():
    seen = []

    def step(x, number, pair):
        seen.append((float(x), float(number), pair.tolist()))
        return x + number

    last = scan(step, torch.zeros(1), torch.tensor([1.0, 2.0]), torch.tensor([[3, 4], [5, 6]]))
    assert float(last) == 3.0 and seen == [(0.0, 1.0, [3, 4]), (1.0, 2.0, [5, 6])]
