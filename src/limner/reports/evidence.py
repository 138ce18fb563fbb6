"""Evidence: what a report shows beside the figures of the clouds: copies, diversity, the discriminator."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.method import Batch
from limner.core.random import permutation
from limner.data.dataset import Dataset
from limner.data.images import to_bytes
from limner.metrics.discriminator import discriminator
from limner.metrics.diversity import diversity_ratio, mean_distance, pooled
from limner.metrics.figures import KINDS, Figure, real_pictures, real_samples
from limner.metrics.interval import Interval
from limner.metrics.neighbours import squared_distances
from limner.metrics.ranks import roc_auc
from limner.reports.words import finite, share

TRAINING = 60_000
"""Training pictures among which the nearest is looked for."""
JUDGED = 2_000
"""Pictures of each kind that a discriminator judges."""
SMALL = 32
"""px; larger pictures are averaged down to it before their pixels are compared."""
_ROUNDING = 1e-4  # of a distance between equal pictures; those that differ by one level in one px are further apart
_WATCHED = 256
_BLOCK = 2048

Judge = Callable[[Batch], Tensor | None]
"""A batch of N → (N,) scores on the CPU, or None."""


# --- rows of the table ------------------------------------------------------------------------------------------------


def row(figure: Figure, real: Figure | None, seeds: list[float] | None = None) -> dict[str, Any]:
    """A figure beside that of real data, as report.json holds it. Infinite ends become null."""
    kind = KINDS[figure.kind]

    def plain(one: Figure) -> dict[str, Any]:
        return {"value": finite(one.value), "low": finite(one.low), "high": finite(one.high), "range": one.sure}

    return {
        "kind": figure.kind, "name": figure.name, "better": kind.better, "says": kind.says, **plain(figure),
        "real": plain(real) if real else None, "seeds": [finite(value) for value in seeds or [figure.value]],
    }  # fmt: skip


def rows(by_seed: list[list[Figure]], real: Mapping[str, Figure]) -> list[dict[str, Any]]:
    """One row a figure: of one sampling seed with its own range, of several their mean and standard deviation."""
    found = []
    for figures in zip(*by_seed, strict=True):
        first, values = figures[0], [figure.value for figure in figures]
        if len(values) > 1 and all(map(isfinite, values)):
            mean, std = fmean(values), stdev(values)
            sure = f"1 standard deviation, {len(values)} seeds"
            first = Figure(first.kind, first.name, mean, mean - std, mean + std, sure)
        found.append(row(first, real.get(first.kind), values))
    return found


# --- diversity --------------------------------------------------------------------------------------------------------


def diversity(samples: Tensor, data: Dataset, held_out: Dataset | None) -> dict[str, Any] | None:
    """The diversity ratio of some samples, beside that of real pictures; None where all of these are alike.

    samples  (N, C, H, W)
    """
    few = min(_WATCHED, len(data) // (1 if held_out else 2))
    some = small(torch.cat(list(real_pictures(data, few))))
    if not mean_distance(pooled(some)):
        return None
    others = small(torch.cat(list(real_pictures(held_out or data, few, skip=0 if held_out else few))))
    made, real = (diversity_ratio(x, some) for x in (small(samples[:_WATCHED]), others))
    return row(Figure("diversity", "diversity", made), Figure("diversity", "diversity", real))


# --- copies -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copies:
    """Which training picture is nearest to each sample.

    row       of the table: .5 is ideal
    facts     as report.json holds them
    distance  (N,)  from each sample to it
    usual     (M,)  from unseen real pictures to theirs
    nearest   (N,)  which of the data set's it is
    """

    row: dict[str, Any]
    facts: dict[str, Any]
    distance: Tensor
    usual: Tensor
    nearest: np.ndarray


def copies(samples: Tensor, data: Dataset, held_out: Dataset | None) -> Generator[int, None, Copies]:
    """Look for copies among the training pictures, in blocks, yielding how many were looked at.

    Where there are no unseen real pictures, training pictures stand for them, each without itself.

    samples  (N, C, H, W)
    """
    unseen = torch.cat(list(real_pictures(held_out or data, len(samples))))
    queries = torch.cat([small(samples), small(unseen)]).flatten(1)
    best = torch.full((len(queries),), torch.inf, dtype=torch.float64)
    where = torch.zeros(len(queries), dtype=torch.int64)
    passed = 0
    for batch in _blocks(real_pictures(data, TRAINING)):
        # Both come in one order, so picture number i of the data is query number len(samples) + i.
        own = None if held_out else torch.arange(len(unseen)) - passed
        near, index = _nearest(queries, small(batch).flatten(1), own)
        best, where = torch.where(near < best, near, best), torch.where(near < best, index + passed, where)
        passed += len(batch)
        yield len(batch)
    distance, usual = best[: len(samples)], best[len(samples) :]
    usual = usual[torch.isfinite(usual)]
    nearer = roc_auc(usual, distance)
    exact = float((distance < _ROUNDING).double().mean())
    who = "unseen real pictures" if held_out else "real pictures, each without itself"
    facts = {
        "nearer": asdict(nearer), "identical": exact, "queries": len(samples), "training_pictures": passed,
        "natural": who, "space": f"pixels, at most {SMALL} px",
        "sentence": f"Distance from {len(samples):,} samples, and from {who}, to the nearest of {passed:,} "
        f"pictures. {share(exact)} of the samples are exact copies. A model that copies has its hill further left than "
        "the real one; one whose hill lies further right makes pictures that are unlike any.",
    }  # fmt: skip
    made = Figure("copying", "copying", nearer.value, nearer.low, nearer.high, "95 %")
    order = permutation(0, len(data), "reference")
    return Copies(row(made, Figure("copying", "copying", 0.5)), facts, distance, usual, order[where[: len(samples)]])


def small(x: Tensor) -> Tensor:
    """Pictures of at most 32 px, averaged down, so that comparing pixels stays quick and bounded.

    x       (N, C, H, W)
    """
    if x.dim() != 4 or max(x.shape[2:]) <= SMALL:
        return x
    scale = SMALL / max(x.shape[2:])
    return F.interpolate(x, [max(1, round(extent * scale)) for extent in x.shape[2:]], mode="area")


def _nearest(queries: Tensor, base: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor]:
    """The nearest of a block to each query: (N,) distances and (N,) rows.

    own  which row of the block each of the last queries is itself; outside the block where it is not there
    """
    d = squared_distances(queries, base)
    if own is not None:
        inside = ((own >= 0) & (own < len(base))).nonzero()[:, 0]
        d[len(queries) - len(own) + inside, own[inside]] = torch.inf
    index = d.argmin(1)
    exact = (queries.double() - base[index].double()).norm(dim=1)
    exact[d.amin(1) == torch.inf] = torch.inf
    return exact, index


def _blocks(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Small batches joined to larger ones."""
    waiting: list[Tensor] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _BLOCK:
            yield torch.cat(waiting)
            waiting = []
    if waiting:
        yield torch.cat(waiting)


# --- the discriminator ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judgement:
    """How a discriminator did: facts as report.json holds them, and its logits of each kind of picture."""

    facts: dict[str, Any]
    train: Tensor
    unseen: Tensor
    fake: Tensor


def judgement(
    judge: Judge,
    fake: Tensor,
    data: Dataset,
    held_out: Dataset | None,
    *,
    odds: bool = True,
    level: bool = True,
    learned: bool = True,
) -> Judgement:
    """A discriminator's performance on training pictures, unseen ones where there are some, and samples.

    fake     (N,)  its scores of samples
    odds     whether scores are log-odds, so that probabilities can be held against what is true
    level    whether scores above 0 mean that it takes a sample for real
    learned  whether the data are those that it learned from
    """

    def judged(source: Dataset) -> Tensor:
        said = [judge(batch) for batch in real_samples(source, JUDGED)]
        return torch.cat([part for part in said if part is not None])

    train = judged(data)
    unseen = judged(held_out) if held_out is not None else train[:0]
    found = discriminator(train, unseen if len(unseen) else train, fake)
    against = "an unseen real one" if len(unseen) else "a training picture" if learned else "a real one"
    taken = ("training data", "Of what it learned from.") if learned else ("real data", "It did not learn from these.")
    shares: list[tuple[str, Interval, str]] = [
        (f"{taken[0]} taken for real", found.train, taken[1]),
        ("unseen data taken for real", found.held_out, "Should be as many."),
        ("samples taken for fakes", found.fake, "50 % is a guess; at 100 % the generator never fools it."),
        ("real above fake (AUC)", found.auc, f"Chance that it ranks {against} above a sample; 0.5: can't tell."),
        ("training above unseen", found.memory, "Chance of that order; 0.5 is ideal, 1 is learning by heart."),
    ]
    plain = [
        ("calibration error", found.calibration.error, "How far its probabilities are off; 0 is ideal."),
        ("over-fitting gap", found.gap, "Training scores less unseen ones, in units of their spread; 0 is ideal."),
    ]
    table = [{"name": name, "share": True, "says": says, **asdict(value)} for name, value, says in shares]
    table += [{"name": name, "share": False, "says": says, "value": value, "low": None, "high": None}
              for name, value, says in plain]  # fmt: skip
    if not level:
        table = [line for line in table if " taken for " not in str(line["name"])]
    if not (odds and level):
        table = [line for line in table if line["name"] != "calibration error"]
    if not len(unseen):
        table = [line for line in table if "unseen" not in str(line["name"]) and line["name"] != "over-fitting gap"]
    curve = {name: [finite(value) for value in getattr(found.calibration, name).nan_to_num(nan=torch.inf).tolist()]
             for name in ("said", "true", "weight")}  # fmt: skip
    counts = {"training" if learned else "real": len(train), "unseen": len(unseen), "samples": len(fake)}
    facts = {"rows": table, "calibration": curve if odds and level else None, "level": level, "counts": counts}
    return Judgement(facts, train, unseen, fake)


def as_bytes(samples: Tensor | list[Tensor], shape: tuple[int, ...]) -> np.ndarray:
    """Samples as (N, *shape) uint8; of none, an empty array."""
    made = [to_bytes(sample.numpy()) for sample in samples]
    return np.stack(made) if made else np.zeros((0, *shape), np.uint8)
