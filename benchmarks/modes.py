"""Counts the modes that GANs find: points on a ring and a grid, and three stacked digits, beside published counts.

python benchmarks/modes.py ring
python benchmarks/modes.py stacked-digits --steps 5000 --seeds 3

Fewer steps than published make a lite table, which says so. A table can be stopped and begun again at any time; it is
written anew after each run, with how many seeds each row has by then. Each run's figures are kept beside it, in a JSON
file of the same name: seeds that are there are not trained again, on whatever machine (move it away to measure anew).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

import limner
from kept import Kept, pooled
from limner.core.files import write
from limner.core.random import normal
from limner.models.model import save_model
from limner.tasks.generate import Generate
from runs import RESULTS, command, evaluated, tell, trained

ADAM = {"lr": 1e-4, "beta1": 0.8}
LONG = {player: {**ADAM, "beta2": 0.999} for player in ("generator", "discriminator")}
"""The other rows' memory, for a method whose own is shorter."""
POINTS = {"network": "mixture", "latent": 2, "batch": 100, "average": 0, "generator": ADAM, "discriminator": ADAM}
"""PacGAN's protocol for points."""
TINY = {
    "latent": 256, "batch": 128, "average": 0,
    "generator": {"lr": 1e-4, "beta1": 0.5, "beta2": 0.99},
    "discriminator": {"lr": 2e-4, "beta1": 0.5, "beta2": 0.99},
}  # fmt: skip
"""The protocol of unrolled GANs for stacked MNIST."""
STEADY = {"schedule": "constant", "beta2_final": None}
"""Without R3GAN's schedules: rate and memory stay what the other rows have."""
RELATIVISTIC = "relativistic + R1 + R2"
BATCHES, BATCH = 200, 500
"""Of samples, over which statistics of batch norm are taken anew."""


@dataclass(frozen=True)
class Table:
    """A table of modes.

    data       what is learned
    steps      that were published
    samples    in which modes are counted
    figures    of the report, and what a column says
    settings   of every row; a choice that a row's method does not have is left out
    rows       name → method, its own settings, and what was published
    source     of what was published
    """

    data: str
    steps: int
    samples: int
    figures: Mapping[str, str]
    settings: Mapping[str, Any]
    rows: Mapping[str, tuple[str, Mapping[str, Any], Sequence[str]]]
    source: str


_POINTS = {"modes captured": "modes /{}", "high quality": "high quality", "reverse KL": "reverse KL"}
_STACKED = {"modes captured": "modes /1000", "reverse KL": "KL"}
_PACGAN = "Lin et al. 2018, arXiv:1712.04086 (mean ± standard error of 10 runs of 400,000 steps)"
_UNROLLED = "Metz et al. 2017, arXiv:1611.02163; PacDCGAN rows Lin et al. 2018, arXiv:1712.04086 (500,000 steps)"


def steady(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """R3GAN's two players with the rate and memory of a table's other rows."""
    return {player: {"beta2": 0.999, **settings[player], **STEADY} for player in ("generator", "discriminator")}


def points(data: str, modes: int, gan: Sequence[str], pac2: Sequence[str], pac4: Sequence[str]) -> Table:
    """A table of a mixture in the plane."""
    return Table(
        data, 400_000, 2_500, {name: title.format(modes) for name, title in _POINTS.items()}, POINTS,
        {
            # A PacGAN of one is a GAN, as the authors' own row for it: both players move at once.
            "GAN": ("pacgan", {"packed": 1}, gan),
            "PacGAN2": ("pacgan", {"packed": 2}, pac2),
            "PacGAN4": ("pacgan", {"packed": 4}, pac4),
            "unrolled, 5 moves": ("unrolled", {"unroll": 5, **LONG}, ()),
            "4 generators (MGAN)": ("mgan", {}, ()),
            RELATIVISTIC: ("r3gan", {}, ()),
            f"{RELATIVISTIC}, steady": ("r3gan", steady(POINTS), ()),
        },
        _PACGAN,
    )  # fmt: skip


def stacked(data: str, network: str, published: Mapping[str, Sequence[str]]) -> Table:
    """A table of stacked digits, with the tiny networks."""
    # Where no batch norm mixes samples, a PacGAN's players move at once: then so do those of what it is held against.
    plain = ("pacgan", {"packed": 1}) if network == "dense" else ("gan", {})
    rows = {
        "DCGAN": plain, "unrolled, 1 move": ("unrolled", {"unroll": 1}),
        "unrolled, 5 moves": ("unrolled", {"unroll": 5}), "unrolled, 10 moves": ("unrolled", {"unroll": 10}),
        "PacDCGAN2": ("pacgan", {"packed": 2}), "PacDCGAN4": ("pacgan", {"packed": 4}),
        "4 generators (MGAN)": ("mgan", {}), RELATIVISTIC: ("r3gan", {}),
        f"{RELATIVISTIC}, steady": ("r3gan", steady(TINY)),
    }  # fmt: skip
    return Table(
        data, 500_000, 25_600, _STACKED, {**TINY, "network": network},
        {name: (*row, published.get(name, ())) for name, row in rows.items()}, _UNROLLED if published else "",
    )  # fmt: skip


_SMALL = {
    "DCGAN": ("30.6 ± 20.7", "5.99"), "unrolled, 1 move": ("65.4", "5.91"), "unrolled, 5 moves": ("236.4", "4.67"),
    "unrolled, 10 moves": ("327.2", "4.66"), "PacDCGAN2": ("484.5", "2.61"), "PacDCGAN4": ("667.4", "1.81"),
}  # fmt: skip
_LARGER = {
    "DCGAN": ("628 ± 141", "2.58"), "unrolled, 1 move": ("523.6", "2.44"), "unrolled, 5 moves": ("732.0", "1.66"),
    "unrolled, 10 moves": ("817.4", "1.43"), "PacDCGAN2": ("840.7", "1.00"), "PacDCGAN4": ("820.2", "1.15"),
}  # fmt: skip
TABLES = {
    "ring": points("ring", 8, ("6.3 ± 0.5", ".982 ± .002", "0.45"), ("7.9 ± 0.1", ".956 ± .020", "0.07"),
                   ("7.8 ± 0.1", ".959 ± .014", "0.07")),
    "grid": points("grid", 25, ("17.3 ± 0.8", ".948 ± .007", "0.70"), ("23.8 ± 0.7", ".913 ± .008", "0.13"),
                   ("24.8 ± 0.2", ".936 ± .006", "0.04")),
    "stacked-digits": stacked("stacked-digits", "dense", {}),
    "stacked-mnist-quarter": stacked("stacked-mnist", "tiny_quarter", _SMALL),
    "stacked-mnist-half": stacked("stacked-mnist", "tiny_half", _LARGER),
}  # fmt: skip


def standing(model: Path) -> Path:
    """The model with the statistics of its generator's batch norms taken anew, beside it; itself where it has none.

    PacGAN's code for points does so before it counts: its monitoring passes over the data update them, while the
    generator stands still (200 batches of 500). For stacked digits it counts with each batch's own. Running averages
    follow a generator that moves, and points that lie 3 hundredths beside a mode do not count.
    """
    loaded = limner.load(model)
    method = loaded.method
    assert isinstance(method, Generate)
    norms = [layer for layer in method.modules() if isinstance(layer, _BatchNorm)]
    place = model.parent / "standing" / "model.safetensors"
    if not norms or place.is_file():
        return place if norms else model
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches
        layer.train()
    with torch.no_grad():
        for part in normal(0, BATCHES * BATCH, method.latent, "standing").split(BATCH):
            method.generate(part)
    for layer, momentum in zip(norms, before, strict=True):
        layer.momentum = momentum
    save_model(place, method.eval(), loaded.name, {name: loaded.header[name] for name in ("data", "training", "card")})
    return place


def written(name: str, table: Table, kept: Kept, called: str) -> str:
    """The table as Markdown: mean ± standard error over seeds, what was published, and real data."""
    lines = [f"# Modes: {name}", ""]
    if kept.steps < table.steps:
        whole = "were published" if table.source else "in the protocol of stacked MNIST"
        lines += [f"**Lite: {kept.steps:,} steps; {table.steps:,} {whole}.** Compare the order, not the figures.", ""]
    titles = list(table.figures.values())
    lines += [
        f"| | {' | '.join(titles)} | seeds | published: {' | '.join(titles)} |",
        "|---" * (2 * len(titles) + 2) + "|",
    ]
    found = [(row, row, kept.rows[row]) for row in table.rows if row in kept.rows]
    for row in kept.joined:
        for size in sorted({len(runs.seeds) for runs in kept.joined[row]}):
            alike = [runs for runs in kept.joined[row] if len(runs.seeds) == size]
            found.append((f"{size} × {row}, as one (ensemble)", "", alike))
    for title, row, runs in found:
        published = table.rows[row][2] if row else ()
        cells = [*(pooled(runs, figure) for figure in table.figures), str(sum(one.count for one in runs))]
        lines.append(f"| {title} | {' | '.join(cells)} | {' | '.join(list(published) or ['–'] * len(titles))} |")
    lines.append(
        f"| real data | {' | '.join(f'{kept.real[figure]:.4g}' for figure in table.figures)} | | {' | ' * len(titles)}"
    )
    lines += [
        "", f"- {table.samples:,} samples; mean ± standard error over training seeds, or over ensembles",
        f"- statistics of batch norm are taken anew before counting, over {BATCHES} batches of {BATCH}",
        *([f"- published: {table.source}"] if table.source else []),
        *(f"- {place}" for place in kept.places()),
        f"- `{called}`",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, count, write; seed by seed, so that every row has its first one early."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--steps", type=int, help="fewer than published make a lite table")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", nargs="*", help="only these")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/modes"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    table = TABLES[chosen.table]
    steps = chosen.steps or table.steps
    torch.set_num_threads(chosen.threads)
    models: dict[str, dict[int, Path]] = {}
    metrics = ["classes"] if table.figures is _STACKED else []
    name = f"modes-{chosen.table}{'-lite' if steps < table.steps else ''}"
    kept = Kept(chosen.out / f"{name}.json", steps)
    rows = chosen.rows or list(table.rows)
    if unknown := [row for row in rows if row not in table.rows]:
        parser.error(f"{chosen.table} has no row {unknown[0]!r}; there are: {', '.join(table.rows)}")

    def count(row: str, members: Mapping[int, Path], model: Path) -> None:
        """Of samples of a model that these seeds trained, the figures: kept, and the table written."""
        report = evaluated(model, data=table.data, samples=table.samples, metrics=metrics)
        figures = {figure["name"]: figure for figure in report["figures"]}
        kept.real = {figure: figures[figure]["real"]["value"] for figure in table.figures}
        used = sorted({limner.load(member).header["training"]["machine"]["cores"] for member in members.values()})
        threads = f"{' and '.join(map(str, used))} thread{'s' * (max(used) > 1)}"
        kept.add(row, sorted(members), {figure: figures[figure]["value"] for figure in table.figures}, threads)
        tabulate()

    def tabulate() -> None:
        write(chosen.out / f"{name}.md", written(chosen.table, table, kept, command("modes", arguments)))

    for seed in range(1, chosen.seeds + 1):
        for row in rows:
            method, settings, _ = table.rows[row]
            run = chosen.runs / chosen.table / f"{row.replace(' ', '').replace(',', '-')}-{steps}-{seed}"
            known = seed in kept.seeds(row)
            if known and not (run / "model.safetensors").is_file():
                continue
            model = standing(trained(
                run, method, data=table.data, steps=steps, seed=seed, threads=chosen.threads,
                checkpoint_every=max(500, steps // 10), preview_every=1e6, precision="fp32",
                **{**table.settings, **settings},
            ))  # fmt: skip
            models.setdefault(row, {})[seed] = model
            if not known:
                count(row, {seed: model}, model)
    for row in (next(iter(table.rows)), RELATIVISTIC):
        members = models.get(row, {})
        if len(members) > 1 and sorted(members) not in [runs.seeds for runs in kept.joined.get(row, [])]:
            together = "-".join(map(str, sorted(members)))
            place = chosen.runs / chosen.table / f"{row.replace(' ', '')}-{steps}-together-{together}"
            if not (place / "model.safetensors").is_file():
                tell(limner.ensemble(*members.values(), out=place))
            count(row, members, place / "model.safetensors")
    tabulate()
    print((chosen.out / f"{name}.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
