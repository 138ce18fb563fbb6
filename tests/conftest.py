"""One thread a worker and float32 unless a test asks for more, so that results depend neither on how many workers there
are nor on what the processor computes with."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _float32():
    """As on a processor that has no bfloat16: what trains in bfloat16 says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        yield


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Each test runs in a folder of its own, so that a default output never lands in the repository."""
    monkeypatch.chdir(tmp_path)
