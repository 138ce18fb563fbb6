"""Whether the quick forms of convolutions and backward passes give models as good as PyTorch's own operations give.

python benchmarks/same_results.py

Trains the DCGAN on MNIST from each seed twice: "fast" as `limner train` does, in float32 or (--precision bf16) in
bfloat16, and "plain" with PyTorch's convolutions, two backward passes and float32 (limner.nn.conv.plain and
limner.training.learner.two_passes). Both models are sampled and judged alike. The two round
differently, so that after some hundred steps they are different runs; what should be the same is how good they are,
within what another seed changes.

Hours on two cores. It can be stopped and begun again at any time. Fewer epochs or seeds, or narrower networks, make a
lite table, which says so.
"""

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runs import RESULTS, command, evaluated, table, trained  # isort: skip  # before torch, whose threads it sets

import torch

from limner.core.files import write
from limner.nn.conv import plain
from limner.training.learner import two_passes
from machine import machine

EPOCHS, SEEDS, WIDTH, SAMPLES = 10, (1, 2, 3), 64, 10_000
FORMS = ("fast", "plain")
FIGURES = ("FD-digits", "coverage")


@contextmanager
def form(name: str) -> Iterator[None]:
    """What is trained in this context is trained in that form, while it is iterated too."""
    if name == "fast":
        yield
    else:
        with plain(), two_passes():
            yield


@dataclass(frozen=True)
class Welch:
    """Welch's comparison of two means whose spreads may differ.

    difference  of the means, the second less the first
    t           the difference in units of its standard error
    freedom     degrees of freedom
    p           chance of a |t| as large where nothing differs
    half        half of the difference's 95 % range

    Source: Welch 1947, "The generalization of Student's problem when several different population variances are
    involved"
    """

    difference: float
    t: float
    freedom: float
    p: float
    half: float


def welch(a: Sequence[float], b: Sequence[float]) -> Welch | None:
    """Compare two samples; None where either has no spread to compare with."""
    if min(len(a), len(b)) < 2:
        return None
    parts = [statistics.variance(values) / len(values) for values in (a, b)]
    error = math.sqrt(sum(parts))
    if not error:
        return None
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (a, b), strict=True))
    difference = statistics.fmean(b) - statistics.fmean(a)
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle, freedom) > 0.05 else (low, middle)
    return Welch(difference, difference / error, freedom, chance(difference / error, freedom), high * error)


def chance(t: float, freedom: float, pieces: int = 2_000) -> float:
    """How likely Student's t is at least so far from 0, by Simpson's rule over the angle atan(t / √freedom)."""
    end = math.atan(abs(t) / math.sqrt(freedom))
    step = end / pieces
    heights = [math.cos(i * step) ** (freedom - 1) for i in range(pieces + 1)]
    area = step / 3 * (heights[0] + 4 * sum(heights[1::2]) + 2 * sum(heights[2:-1:2]) + heights[-1])
    scale = 2 * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return min(1.0, max(0.0, 1 - scale * area))


def verdict(name: str, found: Mapping[str, Sequence[float]]) -> str:
    """One sentence on whether a figure differs between the forms."""
    w = welch(found["fast"], found["plain"])
    if w is None:
        return f"{name}: there is no spread of seeds to compare the difference with, so nothing can be said about it."
    inside = "lies within the spread of the seeds" if w.p > 0.05 else "is larger than the spread of the seeds explains"
    return (
        f"{name}: the difference of the means, plain − fast, is {w.difference:+.3g} and {inside} (Welch's t = "
        f"{w.t:.2f} with {w.freedom:.1f} degrees of freedom, p = {w.p:.2g}; with 95 % confidence it lies between "
        f"{w.difference - w.half:+.2g} and {w.difference + w.half:+.2g})."
    )


Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""Of each form a report a seed."""


def page(found: Runs, given: Any, lite: bool, called: str) -> str:
    """The results as Markdown."""
    rows = {name: [{row["name"]: row for row in report["figures"]} for report in found[name]] for name in FORMS}
    values = {figure: {name: [run[figure]["value"] for run in rows[name]] for name in FORMS} for figure in FIGURES}
    precisions = {name: found[name][0]["training"]["precision"] for name in FORMS}
    lines = ["# The quick forms and PyTorch's own: the same results", ""]
    if lite:
        lines += ["**Lite.** Early or narrow models differ less or more than whole ones; see the line below.", ""]
    lines += [
        *table(rows, FIGURES), "",
        *(f"- {verdict(name, values[name])}" for name in FIGURES),
        "", "| seed | " + " | ".join(f"{figure}, {name}" for figure in FIGURES for name in FORMS) + " |",
        "|---" * (1 + len(FORMS) * len(FIGURES)) + "|",
    ]  # fmt: skip
    for i, report in enumerate(found["fast"]):
        cells = [f"{values[figure][name][i]:.4g}" for figure in FIGURES for name in FORMS]
        lines.append(f"| {report['training']['seed']} | {' | '.join(cells)} |")
    other = "rows" if given.precision == "bf16" else "tiles"
    here, trained_on = machine(), found["fast"][0]["training"]["machine"]
    lines += [
        "",
        f"- dcgan on MNIST, {given.epochs:g} epochs of 128, width {given.width}; fast: {precisions['fast']}, "
        f"convolutions through frequencies or {other}, one backward pass; plain: {precisions['plain']}, PyTorch's "
        "convolutions, two backward passes",
        f"- {SAMPLES:,} samples, sampling seed 0; mean ± standard deviation over training seeds "
        f"{' '.join(map(str, given.seeds[: len(found['fast'])]))}; FD-digits is better lower, coverage higher",
        f"- {datetime.now(UTC):%Y-%m-%d}, {here['cpu']} ({here['flags']}), threads: {trained_on['cores']}, "
        f"{here['system']}, torch {trained_on['torch']}, load average at the end {os.getloadavg()[0]:.1f}; `{called}`",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write; seed by seed, both forms of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--width", type=int, default=WIDTH, help="of the DCGAN")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the fast form")
    parser.add_argument("--threads", type=int, help="all cores where it is not given")
    parser.add_argument("--runs", type=Path, default=Path("runs/same-results"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    lite = chosen.epochs < EPOCHS or len(chosen.seeds) < len(SEEDS) or chosen.width != WIDTH
    kind = "-bf16" if chosen.precision == "bf16" else ""
    size = f"-{chosen.epochs:g}-epochs-width-{chosen.width}-lite" if lite else ""
    file = chosen.out / f"same_results{kind}{size}.md"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in FORMS}
    for seed in chosen.seeds:
        for name in FORMS:
            run = chosen.runs / f"{name}{kind if name == 'fast' else ''}-{chosen.epochs:g}-{chosen.width}-{seed}"
            precision = chosen.precision if name == "fast" else "fp32"
            threads = {"threads": chosen.threads} if chosen.threads else {}
            with form(name):
                model = trained(run, "dcgan", data="mnist", epochs=chosen.epochs, seed=seed, width=chosen.width,
                                precision=precision, **threads)  # fmt: skip
            found[name].append(evaluated(model, data="mnist", samples=SAMPLES, metrics=["fd", "prdc"]))
        write(file, page(found, chosen, lite, command("same_results", arguments)))
    print(file.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
