"""Digits: 1,797 handwritten digits, 8×8 px, that come with scikit-learn. Small enough for a smoke test.

Source: Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI
"""

from collections.abc import Generator, Mapping

import numpy as np

from limner.core.errors import DataError
from limner.core.events import Event
from limner.data.builtin.record import BuiltIn, Drawn


def _draw() -> Generator[Event, None, Mapping[str, Drawn]]:
    yield from ()
    try:
        from sklearn import __version__ as version  # type: ignore[import-untyped]
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError:
        raise DataError(
            "the set 'digits' comes with scikit-learn, which is not installed", "pip install scikit-learn"
        ) from None
    values, labels = load_digits(return_X_y=True)
    samples = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return {"train": Drawn(samples, labels.astype(np.int64), f"scikit-learn {version}")}


SET = BuiltIn(
    name="digits",
    about="handwritten digits, 8×8 px, grey, 10 classes (needs scikit-learn)",
    splits=("train",),
    classes=tuple("0123456789"),
    licence="BSD-3-Clause",
    attribution="Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak, UCI",
    draw=_draw,
)
