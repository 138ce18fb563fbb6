"""Vendi score: how many different samples there seem to be. 1: all alike; N: all at right angles to each other.

It needs no real data, and so says nothing of quality.

Source: Friedman & Dieng 2022, arXiv:2210.02410
"""

import torch
from torch import Tensor


def vendi_score(features: Tensor) -> float:
    """exp of the entropy of the eigenvalues of K/N, where K holds the cosines between samples.

    features (N, D)

    The D × D matrix has the same eigenvalues as the N × N one, and the smaller of the two is taken.
    """
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    gram = unit.T @ unit if unit.shape[1] < len(unit) else unit @ unit.T
    values = torch.linalg.eigvalsh(gram / len(unit)).clamp_min(0)
    return float((-torch.special.xlogy(values, values).sum()).exp())
