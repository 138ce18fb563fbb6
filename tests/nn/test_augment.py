"""Augmentations against plain loops over NumPy arrays, SciPy's rotations, and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from limner.nn import augment

CLOSED = 0.999  # a chance that lets no change through


def pictures(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def chances(*shape, seed=1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_diffaugment_equals_plain_loops():
    x, u = pictures(12, 3, 12, 9), chances(12, augment.DIFFAUGMENT_DRAWS)
    made = augment.diffaugment(x, u).numpy()
    for picture, (bright, saturated, contrast, down, right, hole_row, hole_column), found in zip(
        x.numpy(), u.numpy(), made, strict=True
    ):
        p = picture + bright - 0.5
        grey = p.mean(0)
        p = grey + (p - grey) * 2 * saturated
        p = p.mean() + (p - p.mean()) * (contrast + 0.5)
        # An eighth of 12 and of 9 px, rounded, is 2 and 1; half of them is 6 and 5.
        rows, columns = int(down * 5) - 2, int(right * 3) - 1
        middle = int(hole_row * 13), int(hole_column * 9)
        expected = np.zeros_like(p)
        for i in range(12):
            for j in range(9):
                inside = 0 <= i + rows < 12 and 0 <= j + columns < 9
                hidden = 0 <= i - (middle[0] - 3) < 6 and 0 <= j - (middle[1] - 2) < 5
                if inside and not hidden:
                    expected[:, i, j] = p[:, i + rows, j + columns]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_shifts_reach_both_ends_alike_often():
    x = torch.zeros(9, 1, 16, 16)
    x[:, :, 8, 8] = 1.0
    u = torch.stack([(torch.arange(9) % 5 + 0.5) / 5, (torch.arange(9) % 5 + 0.5) / 5], 1)
    places = augment.translation(x, u).flatten(1).argmax(1)
    assert sorted(set((places // 16).tolist())) == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("pass_through", [
    lambda x, u: augment.diffaugment(x, u[:, :7]), lambda x, u: augment.ada(x, u, 0.8),
])  # fmt: skip
def test_gradients_and_their_gradients_are_those_of_finite_differences(pass_through):
    x, u = pictures(3, 3, 6, 5).requires_grad_(), chances(3, augment.ADA_DRAWS)
    assert torch.autograd.gradcheck(lambda x: pass_through(x, u), x)
    assert torch.autograd.gradgradcheck(lambda x: pass_through(x, u) ** 2, x)


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 3, 7, 10)])
def test_a_picture_does_not_depend_on_its_neighbours(shape):
    x, u = pictures(*shape), chances(4, augment.ADA_DRAWS)
    for made in (lambda x, u: augment.diffaugment(x, u[:, :7]), lambda x, u: augment.ada(x, u, 0.7)):
        torch.testing.assert_close(made(x, u)[2:3], made(x[2:3], u[2:3]))


def test_ada_changes_nothing_at_0_or_where_no_chance_lets_it():
    x = pictures(4, 3, 8, 8)
    assert augment.ada(x, chances(4, 28), 0.0) is x
    torch.testing.assert_close(augment.ada(x, torch.full((4, 28), CLOSED), 0.5), x)


def test_ada_changes_as_many_as_p_says():
    """Each of the seven geometric gates opens for p of the pictures; the two turns share theirs."""
    for p in (0.2, 0.6):
        u = torch.full((4000, 18), CLOSED, dtype=torch.float64)
        # A shift by a fraction has two values and then its gate.
        u[:, 15:17] = 0.9
        u[:, 17] = chances(4000)
        moved = (augment.geometry(u, p, 8, 8) - torch.eye(3)).abs().flatten(1).amax(1) > 1e-9
        assert moved.double().mean().item() == pytest.approx(p, abs=0.03)
        u = torch.full((4000, 18), CLOSED, dtype=torch.float64)
        u[:, 9], u[:, 13] = 0.7, 0.6
        u[:, 10], u[:, 14] = chances(4000, seed=5), chances(4000, seed=6)
        turned = (augment.geometry(u, p, 8, 8) - torch.eye(3)).abs().flatten(1).amax(1) > 1e-9
        assert turned.double().mean().item() == pytest.approx(p, abs=0.03)


@pytest.mark.parametrize("channels", [1, 3])
def test_ada_is_exact_for_bfloat16_too(channels):
    """A ramp of 512 px tells where each pixel was read; bfloat16 knows places there to 2 px."""
    x = torch.linspace(-1, 1, 512).expand(4, channels, 64, 512)
    u = chances(4, augment.ADA_DRAWS).float()
    plain = augment.ada(x, u, 0.8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment.ada(x, u, 0.8), plain)
        lowered = augment.ada(x.bfloat16(), u, 0.8)
    torch.testing.assert_close(lowered, augment.ada(x.bfloat16().float(), u, 0.8))


def test_colours_may_change_less_often():
    x, u = pictures(300, 1, 8, 8), chances(300, augment.ADA_DRAWS)
    u[:, :18] = CLOSED
    changed = [(augment.ada(x, u, 0.6, colours) - x).abs().flatten(1).amax(1) > 1e-9 for colours in (0.0, 0.5, 1.0)]
    # Three changes of a grey picture, the flip half the time: 1 - (1 - p)² (1 - p / 2).
    chance = [1 - (1 - p) ** 2 * (1 - p / 2) for p in (0.0, 0.3, 0.6)]
    assert [float(some.double().mean()) for some in changed] == pytest.approx(chance, abs=0.08)


def open_gates(**values):
    """Chances in which only the named change happens: (value columns, gate column)."""
    u = torch.full((1, augment.ADA_DRAWS), CLOSED, dtype=torch.float64)
    for column, value in values.items():
        u[0, int(column[1:])] = value
    return u


def test_ada_s_single_changes_have_their_closed_forms():
    x = pictures(1, 3, 8, 8)
    mirrored = augment.ada(x, open_gates(c0=0.7, c1=0.0), 0.5)
    torch.testing.assert_close(mirrored, x.flip(3))
    turned = augment.ada(x, open_gates(c2=0.3, c3=0.0), 0.5)
    torch.testing.assert_close(turned, x.rot90(1, (2, 3)))
    # .125 · 8 px is a whole pixel at the end of the range; what moves in is the mirrored picture.
    shifted = augment.ada(x, open_gates(c4=0.99, c5=0.5, c6=0.0), 0.5)
    torch.testing.assert_close(shifted[..., 1:], x[..., :-1])
    torch.testing.assert_close(shifted[..., 0], x[..., 1])


def test_ada_s_colours_have_their_closed_forms():
    x = pictures(1, 3, 8, 8)
    brighter = augment.ada(x, open_gates(c18=0.9, c19=0.0), 0.5)
    torch.testing.assert_close(brighter, x + 0.2 * norm.ppf(0.9))
    stronger = augment.ada(x, open_gates(c20=0.9, c21=0.0), 0.5)
    torch.testing.assert_close(stronger, x * 2 ** (0.5 * norm.ppf(0.9)))
    flipped = augment.ada(x, open_gates(c22=0.9, c23=0.0), 0.5)
    torch.testing.assert_close(flipped, x - 2 * x.mean(1, keepdim=True))
    turn = Rotation.from_rotvec(np.full(3, 1 / math.sqrt(3)) * (2 * 0.8 - 1) * math.pi).as_matrix()
    hue = augment.ada(x, open_gates(c24=0.8, c25=0.0), 0.5)
    for form in (turn, turn.T):
        if np.allclose(hue.numpy(), np.einsum("ij,njhw->nihw", form, x.numpy()), atol=1e-9):
            break
    else:
        raise AssertionError("the hue is not turned round the grey axis")
    grey = x.mean(1, keepdim=True)
    paler = augment.ada(x, open_gates(c26=0.2, c27=0.0), 0.5)
    torch.testing.assert_close(paler, grey + (x - grey) * 2 ** norm.ppf(0.2))


def test_grey_is_coloured_as_the_grey_of_a_colour_picture():
    grey, u = pictures(5, 1, 8, 8), chances(5, augment.ADA_DRAWS)
    torch.testing.assert_close(
        augment.ada(grey.expand(-1, 3, -1, -1), u, 0.7), augment.ada(grey, u, 0.7).expand(-1, 3, -1, -1)
    )
