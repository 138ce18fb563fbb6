"""Figures: the one place where samples become figures. A stream of pictures passes a feature network once.

What passed is kept as a Cloud, whose memory does not grow with the count: moments of all, a fair sample of the feature
vectors, and class counts. Two clouds give the figures. Points have no network: their modes are counted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

import torch
from torch import Tensor

from limner.core.random import permutation
from limner.data.builtin import BUILT_IN
from limner.data.builtin.mixtures import GRID, RING, Mixture
from limner.data.dataset import Dataset, Manifest
from limner.features.network import Classifier, Features, quantised
from limner.features.stacked import Stacked
from limner.metrics import modes
from limner.metrics.birthday import birthday, twin_distance
from limner.metrics.fid import Moments, frechet_distance
from limner.metrics.inception_score import InceptionScore
from limner.metrics.interval import Interval, Spread
from limner.metrics.kid import kernel_distance
from limner.metrics.prdc import prdc
from limner.metrics.reservoir import Reservoir
from limner.metrics.vendi import vendi_score

BATCH = 256
KEPT = 10_000
"""Feature vectors kept of a stream, for the kernel distance."""
BALLS = 5_000
"""Vectors compared each with each, where the work grows with the square of the count."""
NEIGHBOUR = 5
_PARTS = 10
_CLEAR = 50
"""Samples that a part needs for an Inception Score: it cannot pass their number, and is too low by far near to it."""
_WIDE = 512
"""With longer feature vectors the Fréchet distance gets no interval of its own: it would take minutes."""

Better = Literal["lower", "higher", "near"]
Sampler = Callable[[int], Iterable[Tensor]]
"""Gives so many samples, in batches (N, C, *size) in [-1, 1]."""


@dataclass(frozen=True)
class Kind:
    """What a figure tells.

    better  which way is better; "near": the nearer to the real-data row
    says    one line for a newcomer
    """

    better: Better
    says: str


KINDS = {
    "fd": Kind("lower", "How far the samples as a whole lie from real pictures, seen through a network. 0 is equal."),
    "kd": Kind("lower", "The same question asked without assuming a shape of the cloud. About 0 is equal."),
    "is": Kind("higher", "Single pictures are clear and all together varied; at most the number of classes."),
    "precision": Kind("higher", "Share of the samples that look like some real picture."),
    "recall": Kind("higher", "Share of the real pictures that the samples reach."),
    "density": Kind("higher", "How tightly the samples lie among real pictures; 1 is as tight as real ones."),
    "coverage": Kind("higher", "Share of the real pictures that have a sample right beside them."),
    "vendi": Kind("near", "How many different kinds of pictures there seem to be."),
    "classes": Kind("higher", "Classes of the data that were made at all."),
    "class_kl": Kind("lower", "How unevenly the classes are made, in nats; 0 is as in real data."),
    "distinct": Kind("near", "How many different pictures it could make (birthday test); “>” means at least."),
    "diversity": Kind("near", "How different the samples of one batch are from each other; 1 is as real ones."),
    "copying": Kind(
        "near", "Chance that a sample lies nearer to a training picture than an unseen real one does; more is copying."
    ),
    "energy": Kind("lower", "How far the samples as a whole lie from real points. 0 is equal."),
    "high_quality": Kind("higher", "Share of the points that lie within 3 standard deviations of a mode."),
    "modes": Kind("higher", "Modes with at least one good sample."),
    "mode_kl": Kind("lower", "How unevenly the modes are made, in nats; real data have a little too."),
}
"""Every figure that two clouds, or points, can give. Reports take their words from here."""

GROUPS = {
    "fd": ("fd",), "kd": ("kd",), "is": ("is",), "prdc": ("precision", "recall", "density", "coverage"),
    "vendi": ("vendi",), "classes": ("classes", "class_kl", "modes", "mode_kl"), "distinct": ("distinct",),
}  # fmt: skip
"""What is computed together, by the word that a person chooses; of classes, modes where three digits are stacked."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    kind    its key in KINDS
    name    what it is called with its eye, e.g. "FD-digits"; never compare across names
    value   infinite where a count has no upper end
    low     the range's lower end; None where there is no range
    high    its upper end
    sure    what the range is, in words
    """

    kind: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    sure: str = ""


class Cloud:
    """What a network saw in a stream of pictures. Batches of any size give the same cloud.

    features  the network
    kept      feature vectors kept
    seed      of the choice which
    """

    def __init__(self, features: Features, kept: int = KEPT, seed: int = 0) -> None:
        self.features = features
        self.parts = [Moments.empty(features.dimensions) for _ in range(_PARTS if _narrow(features) else 1)]
        self.kept = Reservoir(kept, seed)
        self.score = InceptionScore(features.classes, _PARTS) if isinstance(features, Classifier) else None
        self.counts = torch.zeros(features.classes, dtype=torch.int64) if isinstance(features, Classifier) else None

    @property
    def count(self) -> int:
        """Pictures seen."""
        return self.kept.seen

    @property
    def moments(self) -> Moments:
        """Of all pictures seen."""
        return _joined(self.parts)

    @torch.inference_mode()
    def update(self, x: Tensor) -> Tensor | None:
        """Takes in pictures, as a PNG would hold them.

        x       (N, C, H, W)  in [-1, 1]
        returns (N,)  the class each was taken for; None where the network is no classifier
        """
        x = quantised(x).to(next(self.features.parameters()).device)
        labels = None
        if isinstance(self.features, Classifier):
            seen, logits = (part.cpu() for part in self.features.both(x))
            labels = logits.argmax(1)
            assert self.score is not None and self.counts is not None
            self.score.update(logits)
            self.counts += torch.bincount(labels, minlength=self.features.classes)
        else:
            seen = self.features(x).cpu()
        number = (torch.arange(len(seen)) + self.kept.seen) % len(self.parts)
        for i, part in enumerate(self.parts):
            part.update(seen[number == i])
        self.kept.update(seen)
        return labels

    def rows(self, most: int) -> Tensor:
        """(≤ most, D)  a fair sample of the feature vectors; of one stream always the same."""
        rows = self.kept.rows
        return rows if len(rows) <= most else rows[torch.from_numpy(permutation(0, len(rows), "rows")[:most])]


def figures(
    fake: Cloud,
    real: Cloud,
    groups: Collection[str] = tuple(GROUPS),
    *,
    named: bool = False,
    most: int = BALLS,
    seed: int = 0,
) -> Iterator[Figure]:
    """The figures of samples against real pictures, in the order of GROUPS. Those that need more samples are left out.

    fake    what is judged; real pictures that the other cloud does not hold, for the real-data row
    real    the reference
    groups  which of GROUPS
    named   the network's classes are those of the data, so that counting them means something
    most    vectors of each cloud that are compared each with each; such figures change with the count, so two rows that
            are held against each other need the same
    seed    of bootstrap and subsets
    """
    eye = fake.features
    few = min(fake.count, real.count)
    if "fd" in groups and few >= 2:
        yield _frechet(fake, real)
    if "kd" in groups and few >= 10:
        canonical = eye.frechet_name == "FID"
        size = min(1000, few // 2)
        kd = kernel_distance(fake.kept.rows, real.kept.rows, size=size, seed=seed)
        name = "KID" if canonical else f"KD-{eye.name}"
        yield _spread("kd", name, kd, f"standard deviation over 100 subsets of {size:,}")
    if "is" in groups and fake.score is not None and fake.count >= _CLEAR * _PARTS:
        name = "IS" if eye.frechet_name == "FID" else f"IS-{eye.name}"
        yield _spread("is", name, fake.score.compute(), f"standard deviation over {_PARTS} parts")
    most = min(few, most)
    if "prdc" in groups and most > NEIGHBOUR:
        shares = prdc(real.rows(most), fake.rows(most), NEIGHBOUR, seed)
        for kind in GROUPS["prdc"]:
            yield _interval(kind, kind, getattr(shares, kind))
    if "vendi" in groups and most >= 2:
        yield Figure("vendi", f"Vendi-{eye.name}", vendi_score(fake.rows(most)))
    if "classes" in groups and named and fake.counts is not None and isinstance(eye, Stacked):
        found = modes.stacked(fake.counts)
        yield Figure("modes", "modes captured", float(found.captured))
        yield Figure("mode_kl", "reverse KL", found.reverse_kl)
    elif "classes" in groups and named and fake.counts is not None and real.counts is not None:
        made = fake.counts > 0
        yield Figure("classes", "classes made", float((made & (real.counts > 0)).sum()))
        yield Figure("class_kl", "class KL", modes.reverse_kl(fake.counts, real.counts))
    if "distinct" in groups and most >= 100:
        distance = twin_distance(real.rows(most))
        support = birthday(fake.rows(most), distance).support
        yield _interval("distinct", "distinct", support)


def needs(group: str) -> str:
    """What a group of figures takes, for samples that had too little of it."""
    return {
        "is": f"a network with classes, and {_CLEAR * _PARTS} samples",
        "classes": "data whose classes the network knows: handwritten digits, or three of them stacked",
        "fd": "2 pictures on each side", "kd": "10 pictures on each side", "vendi": "2 pictures on each side",
        "prdc": f"more than {NEIGHBOUR} pictures on each side", "distinct": "100 pictures on each side",
    }[group]  # fmt: skip


def compares(eye: Features, groups: Collection[str]) -> bool:
    """Whether any of these groups sets the samples against the reference: counting published modes does not."""
    return not (isinstance(eye, Stacked) and set(groups) <= {"classes"})


def _frechet(fake: Cloud, real: Cloud) -> Figure:
    """With a 95 % range by leaving out each tenth of the samples in turn.

    Source: Efron & Stein 1981, "The jackknife estimate of variance"
    """
    name = fake.features.frechet_name
    value = frechet_distance(fake.moments, real.moments)
    if len(fake.parts) == 1 or fake.count < 10 * _PARTS:
        return Figure("fd", name, value)
    reference = real.moments
    without = torch.tensor(
        [frechet_distance(_joined(fake.parts[:i] + fake.parts[i + 1 :]), reference) for i in range(_PARTS)]
    )
    std = sqrt(_PARTS - 1) * float(without.std(correction=0))
    return Figure("fd", name, value, max(0.0, value - 1.96 * std), value + 1.96 * std, "95 % (jackknife over tenths)")


def _joined(parts: Iterable[Moments]) -> Moments:
    first, *rest = parts
    whole = Moments(first.count, first.mean, first.scatter)
    for part in rest:
        whole.merge(part)
    return whole


def _narrow(features: Features) -> bool:
    return features.dimensions <= _WIDE


def _interval(kind: str, name: str, found: Interval) -> Figure:
    return Figure(kind, name, found.value, found.low, found.high, "95 %")


def _spread(kind: str, name: str, found: Spread, sure: str) -> Figure:
    return Figure(kind, name, found.mean, found.mean - found.std, found.mean + found.std, sure)


# --- points -----------------------------------------------------------------------------------------------------------

MIXTURES: dict[str, Mixture] = {"ring": RING, "grid": GRID}
"""Sets of points whose modes are known."""


def point_figures(fake: Tensor, real: Tensor, manifest: Manifest) -> Iterator[Figure]:
    """The figures of points: how far the samples lie from real ones, and which modes they make.

    fake    (N, D)  as the data set stores them
    real    (M, D)
    """
    few = min(len(fake), len(real), BALLS // 2)
    yield Figure("energy", "energy distance", energy_distance(fake[:few], real[:few]) * manifest.scale)
    known = MIXTURES.get(manifest.name)
    if known is None:
        return
    # The samples go to the centres' coordinates, not the centres to theirs: the width is stated there.
    found = modes.mixture(fake.double() * manifest.scale, torch.tensor(known.centres, dtype=torch.float64), known.std)
    near = found.high_quality
    wide = 1.96 * sqrt(near * (1 - near) / len(fake))
    yield Figure("high_quality", "high quality", near, max(0.0, near - wide), min(1.0, near + wide), "95 %")
    yield Figure("modes", "modes captured", float(found.captured))
    yield Figure("mode_kl", "reverse KL", found.reverse_kl)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Energy distance of two clouds of points: √(2 E|x − y| − E|x − x′| − E|y − y′|), 0 for equal clouds.

    x       (N, D)
    y       (M, D)

    Source: Székely & Rizzo 2013, "Energy statistics: a class of statistics based on distances"
    """
    x, y = x.double(), y.double()
    square = 2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()
    return sqrt(max(0.0, float(square)))


# --- during training --------------------------------------------------------------------------------------------------


def suited(manifest: Manifest) -> str:
    """The name of the features that suit a data set: handwritten digits, single and stacked, have their own."""
    eyes = {"mnist": "digits", "digits": "digits", "stacked-mnist": "stacked", "stacked-digits": "stacked"}
    # A folder of one's own may have such a name too.
    known = manifest.name in eyes and manifest.classes == BUILT_IN[manifest.name].classes
    return eyes[manifest.name] if known else "efficientnet"


def real_samples(dataset: Dataset, count: int, seed: int = 0, skip: int = 0) -> Iterator[dict[str, Tensor]]:
    """A random choice of a data set, in batches as `take` gives them; the same seed gives the same.

    count   how many at most
    skip    how many of the choice come before; so halves do not overlap
    """
    order = permutation(seed, len(dataset), "reference")[skip : skip + count]
    for start in range(0, len(order), BATCH):
        yield dataset.take(order[start : start + BATCH])


def real_pictures(dataset: Dataset, count: int, seed: int = 0, skip: int = 0) -> Iterator[Tensor]:
    """The "x" of `real_samples`."""
    return (batch["x"] for batch in real_samples(dataset, count, seed, skip))


def slow(features: Features) -> bool:
    """Whether a network takes minutes to look at some thousand pictures: a large one without a GPU."""
    return features.name in ("efficientnet", "inception") and next(features.parameters()).device.type == "cpu"


def quick(draw: Sampler, dataset: Dataset, features: Features | None, samples: int = 2_000) -> dict[str, float]:
    """A few figures of a generator, for watching during training. The first is a distance: lower is better.

    The reference is seen once: later calls with the same data and features reuse it.

    draw      gives samples
    dataset   what they should be like
    features  None for points, which need none
    samples   how many are compared with as many real ones; half of them at most where the network is `slow`, and no
              more than there are real ones, but for the 500 that an Inception Score takes
    returns   for pictures "FD-…", "coverage", and "IS-…" where the network is a classifier;
              for points "energy distance", "high quality", "modes captured" and "reverse KL"
    """
    if features is None or not dataset.signal.rank:
        made = torch.cat(list(draw(samples)))
        real = torch.cat(list(real_pictures(dataset, samples)))
        return {figure.name: figure.value for figure in point_figures(made, real, dataset.manifest)
                if figure.value < inf}  # fmt: skip
    if slow(features):
        samples = min(samples // 2, max(_CLEAR * _PARTS, len(dataset)))
    fake = Cloud(features)
    for batch in draw(samples):
        fake.update(batch)
    found = figures(fake, _reference(dataset, features, samples), ("fd", "is", "prdc"))
    return {figure.name: figure.value for figure in found if figure.kind in ("fd", "is", "coverage")}


_references: dict[tuple[str, str, int, bytes], Cloud] = {}


def _reference(dataset: Dataset, features: Features, count: int) -> Cloud:
    rows = b"" if dataset.rows is None else dataset.rows.tobytes()
    key = (dataset.manifest.sha256, features.weights_sha256, count, rows)
    if key not in _references:
        _references.clear()  # One run has one reference; an earlier run's is not wanted any more.
        cloud = Cloud(features)
        for batch in real_pictures(dataset, count):
            cloud.update(batch)
        _references[key] = cloud
    return _references[key]
