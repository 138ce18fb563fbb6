"""What every method of the catalogue is tested with: tiny settings, and data that suit it."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
import torch

from limner.core import catalog
from limner.core.config import TrainingConfig
from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.data.cache import finish
from limner.data.dataset import TEXT
from limner.data.pack import open_pack, write_pack
from limner.features import minilm
from limner.features.captions import embedded
from limner.models.model import build
from limner.tasks.generate import Captioned

POINTS = Signal(channels=2, scale=1.5)
CAPTIONS = [f"picture {letter}" for letter in "abcdefghijklmnopqrst"]
TINY = {
    "batch": 8,
    "width": 4,
    "latent": 6,
    "told": 5,
    "average": 0.05,
    "levels": 5,
    "style": 4,
    "judges": 2,
    "generators": 2,
}


@dataclass(frozen=True)
class Case:
    """A method with the settings and the signal that a test builds it with."""

    name: str
    config: dict
    signal: Signal

    def __str__(self):
        shape = "x".join(map(str, self.signal.shape)) if self.signal.rank else "points"
        words = self.name, shape, self.config.get("conditioning")
        return "-".join(filter(None, words))


def tiny(name):
    """The smallest settings that a method takes: those of TINY that it has."""
    fields = catalog.head(name).Config.model_fields
    return {key: value for key, value in TINY.items() if key in fields}


def takes(name, signal):
    """Whether a method learns such a signal. Captions are not asked for."""
    try:
        build(name, tiny(name), signal)
    except UsageError:
        return False
    return True


def suited(name, **shape):
    """A signal, with captions if the method reads them."""
    return Signal(**shape, text=TEXT if issubclass(catalog.method(name), Captioned) else 0)


def cases():
    """Each method on grey 28×28 px, colour 16×16 px and points, where it takes them; in each way it learns classes."""
    for name in catalog.names():
        assert issubclass(catalog.head(name).Config, TrainingConfig)
        yield Case(name, tiny(name), suited(name, channels=1, size=(28, 28)))
        yield Case(name, tiny(name), suited(name, channels=3, size=(16, 16)))
        if takes(name, POINTS):
            yield Case(name, tiny(name), POINTS)
        conditioning = catalog.head(name).Config.model_fields.get("conditioning")
        for way in () if conditioning is None else get_args(conditioning.annotation):
            if way != "none":
                yield Case(name, tiny(name) | {"conditioning": way}, Signal(channels=1, size=(8, 8), classes=3))


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(cases()), ids=str)


@pytest.fixture(scope="session")
def every_case():
    """All cases of the catalogue."""
    return list(cases())


@pytest.fixture
def suits():
    """The function that gives a method a signal it can learn."""
    return suited


@pytest.fixture(scope="session")
def packer():
    """The function that writes a case's pack into a folder."""
    return write


@pytest.fixture(scope="session")
def packs(every_case, tmp_path_factory):
    """For each method such a pack, of its first case: method → (case, pack)."""
    folder = tmp_path_factory.mktemp("packs")
    return {case.name: (case, write(case, folder / case.name)) for case in reversed(every_case)}


def write(case, folder):
    """A pack of 20 samples of the case's signal: so few that 12 steps of 8 cross four epoch borders."""
    random = np.random.default_rng(1)
    folder.mkdir(exist_ok=True)
    if case.signal.rank:
        samples = random.integers(0, 256, (20, *case.signal.shape), dtype=np.uint8)
    else:
        samples = random.uniform(-1, 1, (20, *case.signal.shape)).astype(np.float32)
    labels = np.arange(20) % case.signal.classes if case.signal.classes else None
    about = {
        "name": "noise", "split": "train", "source": "a test", "classes": tuple("abc"[: case.signal.classes]),
        "scale": case.signal.scale,
    }  # fmt: skip
    write_pack(folder, samples, labels, CAPTIONS if case.signal.text else (), **about)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache where the packs' captions are already read, by random weights: the real encoder's are 84 MB."""
    folder = tmp_path_factory.mktemp("captions")
    write_pack(folder, np.zeros((20, 1), np.float32), None, CAPTIONS, name="captions", source="a test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE", str(tmp_path_factory.mktemp("cache")))
        with pytest.MonkeyPatch.context() as reading:
            reading.setattr(minilm, "fetch", lambda: iter(()))
            reading.setattr(minilm, "load", encoder)
            finish(embedded(open_pack(folder)))
        yield


def encoder():
    """A sentence encoder of random weights that knows letters alone: the real one's weights are 84 MB."""
    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return minilm.MiniLM({piece: i for i, piece in enumerate(("[CLS]", "[SEP]", "[UNK]", *letters))}, layers=0)
