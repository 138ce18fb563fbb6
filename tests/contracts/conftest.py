"""What every method of the catalogue is tested with: tiny settings, and data that suit it."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest

from limner.core import catalog
from limner.core.config import TrainingConfig
from limner.core.signal import Signal
from limner.data.pack import write_pack

TINY = {"batch": 8, "width": 4, "latent": 6, "average": 0.05}


@dataclass(frozen=True)
class Case:
    """A method with the settings and the signal that a test builds it with."""

    name: str
    config: dict
    signal: Signal

    def __str__(self):
        words = self.name, "x".join(map(str, self.signal.shape)), self.config.get("conditioning")
        return "-".join(filter(None, words))


def tiny(name):
    """The smallest settings that a method takes: those of TINY that it has."""
    fields = catalog.head(name).Config.model_fields
    return {key: value for key, value in TINY.items() if key in fields}


def cases():
    """Each method on grey 28×28 px, and on colour 16×16 px; in each way that it learns classes, where it does."""
    for name in catalog.names():
        assert issubclass(catalog.head(name).Config, TrainingConfig)
        yield Case(name, tiny(name), Signal(channels=1, size=(28, 28)))
        yield Case(name, tiny(name), Signal(channels=3, size=(16, 16)))
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
def pack(case, tmp_path):
    """A pack of 20 pictures of the case's signal: so few that 12 steps of 8 cross four epoch borders."""
    return write(case, tmp_path / "pack")


@pytest.fixture(scope="session")
def packs(every_case, tmp_path_factory):
    """For each method such a pack, of its first case: method → (case, pack)."""
    folder = tmp_path_factory.mktemp("packs")
    return {case.name: (case, write(case, folder / case.name)) for case in reversed(every_case)}


def write(case, folder):
    random = np.random.default_rng(1)
    folder.mkdir(exist_ok=True)
    samples = random.integers(0, 256, (20, *case.signal.shape), dtype=np.uint8)
    labels = np.arange(20) % case.signal.classes if case.signal.classes else None
    about = {"name": "noise", "split": "train", "source": "a test", "classes": tuple("abc"[: case.signal.classes])}
    write_pack(folder, samples, labels, **about)
    return folder
