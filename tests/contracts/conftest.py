"""What every method of the catalogue is tested with: tiny settings, and data that suit it."""

from dataclasses import dataclass

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
        return f"{self.name}-{'x'.join(map(str, self.signal.shape))}"


def tiny(name):
    """The smallest settings that a method takes: those of TINY that it has."""
    fields = catalog.head(name).Config.model_fields
    return {key: value for key, value in TINY.items() if key in fields}


def cases():
    """Each method on grey 28×28 px, and on colour 16×16 px."""
    for name in catalog.names():
        assert issubclass(catalog.head(name).Config, TrainingConfig)
        yield Case(name, tiny(name), Signal(channels=1, size=(28, 28)))
        yield Case(name, tiny(name), Signal(channels=3, size=(16, 16)))


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(cases()), ids=str)


@pytest.fixture
def pack(case, tmp_path):
    """A pack of 20 pictures of the case's signal: so few that 12 steps of 8 cross four epoch borders."""
    random = np.random.default_rng(1)
    folder = tmp_path / "pack"
    folder.mkdir()
    samples = random.integers(0, 256, (20, *case.signal.shape), dtype=np.uint8)
    write_pack(folder, samples, None, name="noise", split="train", source="a test")
    return folder
