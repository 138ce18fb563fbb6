"""Model files out of untrusted hands."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.core import catalog
from limner.core.errors import LimnerError, ModelError
from limner.core.signal import Signal
from limner.core.tensorfile import read_tensors, write_tensors
from limner.models.model import build, load, save_model
from limner.operations.show import Show, show

FACTS = {"data": {}, "training": {}, "card": ""}
SIGNAL = Signal(channels=1, size=(8, 8))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The header and the tensors of a whole model, and a path for crafted ones."""
    path = tmp_path_factory.mktemp("model") / "a.safetensors"
    save_model(path, build("gan", {"width": 4, "latent": 3}, SIGNAL), "gan", FACTS)
    header, tensors = read_tensors(path, "model")
    header.pop("sha256")
    return header, tensors, path


def crafted(saved, **changes):
    header, tensors, path = saved
    write_tensors(path, tensors, {**header, **changes})
    return path


@settings(deadline=None)
@given(name=st.sampled_from(["method", "config", "signal", "data", "training", "card"]), value=JSON)
def test_whatever_a_model_says_of_itself_there_is_one_clear_error(saved, name, value):
    """The checksum is right: it is the content that is not."""
    path = crafted(saved, **{name: value})
    for use in (load, lambda path: list(show(Show(thing=str(path))))):
        try:
            use(path)
        except LimnerError as error:
            assert len(error.message) < 500


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(list(catalog.head("gan").Config.model_fields)), JSON, max_size=3))
def test_whatever_its_settings_are_there_is_one_clear_error(saved, config):
    try:
        load(crafted(saved, config=config))
    except LimnerError as error:
        assert len(error.message) < 500


@pytest.mark.parametrize(
    ("config", "signal"),
    [({"width": 10**6, "latent": 10**6}, {}), ({"width": 10**30}, {}), ({}, {"size": (10**5, 10**5)}),
     ({}, {"channels": 2**40, "size": (2**20, 2**20)})],
)  # fmt: skip
def test_a_file_cannot_ask_for_more_memory_than_it_has_weights(saved, config, signal):
    """Each of these networks would take terabytes."""
    header = saved[0]
    path = crafted(saved, config={**header["config"], **config}, signal={**header["signal"], **signal})
    with pytest.raises(ModelError, match="does not fit its own settings"):
        load(path)


def test_a_file_cannot_ask_for_more_layers_than_it_has_weights(saved, monkeypatch):
    """Not even networks without memory are built to the end."""
    from limner.nn import pair

    made = []

    def endless(*_):
        layers = torch.nn.ModuleList()
        while True:
            made.append(1)
            layers.append(torch.nn.Linear(1, 1))

    monkeypatch.setattr(pair, "generator", endless)
    with pytest.raises(ModelError, match="they ask for more weights than it has"):
        load(crafted(saved))
    assert len(made) < 1000


def test_building_and_loading_leave_torch_s_random_numbers_alone(saved):
    before = torch.get_rng_state()
    build("gan", {"width": 4}, SIGNAL)
    load(crafted(saved))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_header_without_its_parts_is_damaged(saved):
    header, tensors, path = saved
    for name in header.keys() - {"kind", "format"}:
        write_tensors(path, tensors, {key: value for key, value in header.items() if key != name})
        for use in (load, lambda path: list(show(Show(thing=str(path))))):
            with pytest.raises(ModelError, match=f"its header has no {name}"):
                use(path)
