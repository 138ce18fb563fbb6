"""Modes: which parts of a known distribution a generator makes. Lost modes are what mode collapse means.

Three settings where the modes can be counted: mixtures of normals in the plane, classes by a classifier, and three
stacked digits, which make 1,000 modes. Perfect samples do not score 0: print the row of real data beside.

Source: Lin et al. 2018 (PacGAN), arXiv:1712.04086; Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Modes:
    """Which modes were made.

    counts        (K,)  samples in each mode
    captured      modes with at least one sample
    reverse_kl    divergence of the samples' modes from the real ones, in nats; 0 is equal
    high_quality  share of the samples that lie near a mode; 1 where a classifier assigns them all
    """

    counts: Tensor
    captured: int
    reverse_kl: float
    high_quality: float = 1.0


def mixture(samples: Tensor, centres: Tensor, std: float) -> Modes:
    """Modes of a mixture of equally likely normals. Samples near no mode count for none.

    samples (N, D)  in the coordinates of the centres
    centres (K, D)
    std     of each coordinate; a sample is of high quality within 3 of them
    """
    distance, mode = torch.cdist(samples.double(), centres.double()).min(1)
    good = distance <= 3 * std
    return _modes(mode[good], len(centres), float(good.double().mean()))


def classes(labels: Tensor, count: int, real: Tensor | None = None) -> Modes:
    """Samples of each class.

    labels  (N,)      classes a classifier gave
    count   how many classes there are
    real    (count,)  how often each is among real data; equally often where it is not given
    """
    return _modes(labels, count, 1.0, real)


STACKED_SAMPLES = 26_000
"""Samples in which the published counts of stacked digits' modes were made: both figures depend on it."""


def stacked(counts: Tensor) -> Modes:
    """Modes of stacked digits, as published: against 1,000 equally likely ones.

    Perfect samples do not score a divergence of 0: of N samples about 999 / 2N (.019 for 26,000), and real digits are
    not equally frequent, which makes it .0235 for MNIST. Less than that is a mistake.

    counts  (1000,)  samples of each number, as the features 'stacked' read them
    """
    return Modes(counts, int((counts > 0).sum()), reverse_kl(counts))


def reverse_kl(counts: Tensor, real: Tensor | None = None) -> float:
    """Σ p ln(p/q): p the samples' shares, q the real ones. Modes never made cost nothing by themselves, but the
    others then hold too much.

    counts  (K,)  samples in each mode
    real    (K,)  how often each is real, in any unit; equally often where it is not given
    returns nats; infinite where a sample lies in a mode that is never real, and where there is no sample at all
    """
    p = counts.double()
    if not p.sum():
        return float("inf")
    p = p / p.sum()
    q = torch.ones_like(p) if real is None else real.to(p)
    return float((torch.special.xlogy(p, p) - torch.special.xlogy(p, q / q.sum())).sum())


def _modes(mode: Tensor, count: int, high_quality: float, real: Tensor | None = None) -> Modes:
    counts = torch.bincount(mode.cpu(), minlength=count)
    return Modes(counts, int((counts > 0).sum()), reverse_kl(counts, real), high_quality)
