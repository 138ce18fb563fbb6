"""One thread a worker, so that several workers do not fight for the cores; results then do not depend on how many."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Each test runs in a folder of its own, so that a default output never lands in the repository."""
    monkeypatch.chdir(tmp_path)
