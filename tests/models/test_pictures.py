"""Pictures and walks between noises."""

import numpy as np
import pytest
import torch

import limner
from limner.core.errors import UsageError
from limner.data.images import read_recipe
from limner.models.pictures import Pictures, between, scatter


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    for _ in limner.train("gan", data="digits", steps=3, batch=16, width=4, latent=6, threads=1, out=folder):
        pass
    return limner.load(folder / "model.safetensors")


def test_the_same_seed_gives_the_same_pictures_and_more_of_them_begin_alike(model):
    assert np.array_equal(model.generate(9, seed=5).array, model.generate(9, seed=5).array)
    assert torch.equal(model.noise(3, seed=5), model.noise(9, seed=5)[:3])
    assert not torch.equal(model.noise(3, seed=5), model.noise(3, seed=6))


def test_a_notebook_sees_a_png_and_a_file_carries_the_recipe(model, tmp_path):
    pictures = model.generate(4, seed=5)
    assert pictures._repr_png_().startswith(b"\x89PNG")
    recipe = read_recipe(pictures.save(tmp_path / "a.png"))
    assert recipe["method"] == "gan"
    assert recipe["seed"] == 5
    assert recipe["model"] == model.sha256
    assert recipe["settings"]["width"] == 4


def test_classes_that_are_not_there_are_refused(model):
    with pytest.raises(UsageError, match="makes no classes on request: gan learned none"):
        model.generate(1, label=12)


def test_a_walk_keeps_to_the_sphere_and_to_its_ends():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    path = between(a, b, 5)
    assert torch.equal(path[0], a)
    torch.testing.assert_close(path[-1], b)
    torch.testing.assert_close(path.norm(dim=1), torch.full((5,), 2.0))
    torch.testing.assert_close(path[2], torch.tensor([2**0.5, 2**0.5]))
    torch.testing.assert_close(between(a, a, 3), a.expand(3, 2))


def test_points_are_drawn_where_they_lie():
    sheet = scatter(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), side=5)[0, 0]
    assert sheet[4, 0] == sheet[0, 4] == -1
    assert (sheet == -1).sum() == 2


def test_pictures_index_and_iterate(model):
    pictures = model.generate(3)
    assert len(list(pictures)) == len(pictures) == 3
    assert pictures[1].size == (8, 8)
    assert isinstance(pictures, Pictures)


def test_a_walk_between_opposite_noises_stays_between_them():
    """There is no one way around a sphere to the other side; of one number there is no sphere."""
    walk = between(torch.tensor([0.2]), torch.tensor([-1.2]), 15)
    assert walk.abs().max() <= 1.2 + 1e-6


def test_noise_that_no_memory_holds_is_refused(model, monkeypatch):
    monkeypatch.setattr("limner.models.model._NOISE", 10 * model.method.latent)
    assert len(model.noise(10, seed=0)) == 10
    with pytest.raises(UsageError, match="noise for 11 samples takes"):
        model.noise(11, seed=0)
