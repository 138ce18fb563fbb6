"""Stacked digits: three digits as red, green and blue. Every number from 000 to 999 is a mode that can be counted.

The triples are drawn from a fixed seed, one for each part, so that everybody's set is the same as long as the single
digits are.

Source: Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 4.2; Lin et al. 2018 (PacGAN), arXiv:1712.04086
"""

import numpy as np

from limner.data.builtin.digits import SET as DIGITS
from limner.data.builtin.mnist import SET as MNIST
from limner.data.builtin.record import BuiltIn, Drawn, Stacks
from limner.data.dataset import Dataset
from limner.data.stack import Stack

_SEED = 20170522
_COUNTS = {"train": 128_000, "test": 26_000}
"""Of the test part as many as the published protocol counts modes in."""


def stacked(single: Dataset, split: str) -> Drawn:
    """One part: triples of single digits.

    single   grey digits with their labels
    split    train or test
    returns  labels 0-999: the red digit is the hundreds, green the tens, blue the ones
    """
    seed = _SEED + list(_COUNTS).index(split)
    chosen = np.random.Generator(np.random.PCG64(seed)).integers(len(single), size=(_COUNTS[split], 3))
    assert isinstance(single.samples, np.ndarray) and single.labels is not None
    labels = single.labels[chosen] @ np.array([100, 10, 1])
    source = f"triples, drawn from a fixed seed, of the {len(single):,} {split} images of {single.manifest.name} ("
    return Drawn(Stack(single.samples, chosen), labels, f"{source}{single.manifest.source})")


def _record(of: BuiltIn, size: str) -> BuiltIn:
    return BuiltIn(
        name=f"stacked-{of.name}",
        about=f"three digits of {of.name} as red, green and blue, {size}: 1,000 modes to count",
        splits=of.splits,
        classes=tuple(f"{number:03d}" for number in range(1000)),
        licence=of.licence,
        attribution=of.attribution,
        draw=Stacks(of.name, stacked),
        kept=False,
    )


SETS = (_record(MNIST, "28×28 px"), _record(DIGITS, "8×8 px"))
