"""Trains runs that are healthy and runs that are broken on purpose, and prints what the doctor measures and says.

python benchmarks/doctor.py | tee benchmarks/results/doctor.txt
python benchmarks/doctor.py --precision bf16 | tee benchmarks/results/doctor-bf16.txt
python benchmarks/doctor.py --seed 1 | tee benchmarks/results/doctor-seed-1.txt

The limits in limner/operations/doctor.py are drawn from the first two tables; other seeds show what they are worth.
Minutes on one core. Runs are kept in --out, and those that are finished are not trained again.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

import limner
from limner.core.events import Finished
from limner.data.cache import finish
from limner.data.pack import building, is_pack, write_pack
from limner.data.sources import open_data
from limner.nn import discriminators, generators
from limner.operations.doctor import Doctor, doctor
from limner.training.guard import Diverged
from machine import where
from runs import command


@dataclass(frozen=True)
class Case:
    """A run, and what is known to ail it.

    name     of its folder
    ails     the verdict that is right
    method   and its settings
    plain    whether a DCGAN begins from N(0, .02) where it would not
    """

    name: str
    ails: str
    method: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False


def rates(generator: float, discriminator: float, **more: float) -> dict[str, Any]:
    """Learning rates of the players, as settings."""
    return {"generator": {"lr": generator, **more}, "discriminator": {"lr": discriminator, **more}}


SMALL = {"data": "digits", "width": 16, "latent": 16, "batch": 32}
CASES = (
    Case("healthy-digits", "healthy", "dcgan",
         {"data": "digits", "variant": "paper", "width": 16, "batch": 64, "steps": 1500}),
    Case("healthy-mnist", "healthy", "dcgan", {"data": "mnist", "width": 8, "batch": 64, "steps": 1500}),
    # A critic that is always right, and a loss of thousands of nats, are as they should be.
    Case("healthy-critic", "healthy", "wgan_gp",
         {"data": "digits", "network": "dense", "width": 32, "batch": 32, "steps": 1500, **rates(3e-4, 3e-4)}),
    Case("healthy-nats", "healthy", "vae", {"data": "mnist", "size": 32, "network": "dense", "width": 128, "latent": 16,
                                            "likelihood": "discretised_logistic", "steps": 2000}),
    Case("ring", "mode collapse", "gan", {"data": "ring", "width": 32, "latent": 2, "batch": 100, "steps": 4000}),
    Case("plain-start", "mode collapse", "dcgan",
         {"data": "digits", "variant": "mnist", "width": 8, "batch": 32, "steps": 1200}, plain=True),
    Case("hasty-generator", "mode collapse", "gan", {**SMALL, "steps": 1500, **rates(5e-3, 2e-4)}),
    Case("dense-digits", "mode collapse", "gan",
         {"data": "digits", "width": 32, "latent": 16, "batch": 64, "steps": 4000}),
    Case("200-pictures", "over-fitting/memorising", "gan",
         {"data": "mnist200", "width": 64, "batch": 64, "steps": 3000}),
    Case("200-small-pictures", "over-fitting/memorising", "gan",
         {"data": "digits200", "width": 64, "latent": 8, "batch": 32, "steps": 3000}),
    Case("1397-small-pictures", "mode collapse", "gan",
         {"data": "digits1397", "width": 64, "latent": 8, "batch": 32, "steps": 3000}),
    Case("diverged", "diverged", "gan", {"data": "digits", "width": 32, "batch": 64, "steps": 500, **rates(1.0, 1.0)}),
    Case("twenty-steps", "too little training", "gan", {"data": "digits", "width": 32, "batch": 64, "steps": 20}),
    Case("fast-discriminator", "discriminator overpowering", "dcgan",
         {"data": "mnist", "width": 8, "batch": 64, "steps": 1500, **rates(1e-5, 2e-3)}),
    Case("saturated", "discriminator overpowering", "gan",
         {"data": "mnist", "width": 32, "batch": 64, "steps": 2000, "loss": "minimax", **rates(1e-4, 4e-4)}),
    Case("narrow-mnist", "discriminator overpowering", "gan",
         {"data": "mnist", "width": 32, "batch": 64, "steps": 6000}),
)  # fmt: skip
"""Every way of failing at least once, with nets so small that each takes seconds or a few minutes."""

COLUMNS = ("steps", "loss", "sign_rate", "discriminator_loss", "diversity", "precision", "coverage", "modes", "gained",
           "copying", "memory")  # fmt: skip


def prepare(folder: Path) -> dict[str, str]:
    """Packs with a part that nobody trains on, by the names that the cases use."""
    for name, source, train, test in (
        ("mnist200", "mnist", 200, 1000), ("digits200", "digits", 200, 1000), ("digits1397", "digits", 1397, 400),
    ):  # fmt: skip
        data = finish(open_data(source))
        assert data.labels is not None
        about = {"name": name, "source": data.manifest.source, "classes": data.manifest.classes}
        for part, rows in (("train", slice(0, train)), ("test", slice(train, train + test))):
            if not is_pack(folder / name / part):
                with building(folder / name / part) as place:
                    write_pack(place, data.samples[rows], data.labels[rows], **about, split=part)
    return {place.name: str(place) for place in folder.iterdir()}


@contextmanager
def started(plain: bool) -> Iterator[None]:
    """Networks begin from N(0, .02) and have no batch norm that would hide it, as long ago."""
    with ExitStack() as changed:
        if plain:
            for module in (generators, discriminators):
                changed.enter_context(mock.patch.object(module, "keras_init", _plain))
            changed.enter_context(mock.patch.object(generators, "_keras_norm", lambda norm, channels: nn.Identity()))
        yield


def _plain(network: nn.Module) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
    return network


def trained(case: Case, folder: Path, packs: Mapping[str, str], **more: Any) -> Path:
    """The case's run folder, trained unless it was."""
    out = folder / case.name
    if (out / "model.safetensors").is_file():
        return out
    data = str(case.choices["data"])
    choices = {**case.choices, "data": packs.get(data, data), "out": out, "force": True, **more}
    try:
        for _ in limner.train(case.method, **choices):
            pass
    except Diverged as error:
        print(f"{case.name}: {error.message}", file=sys.stderr)
    return out


def examined(run: Path, threads: int) -> dict[str, Any]:
    """What the doctor says of a run, as plain values."""
    *_, last = doctor(Doctor(run=run, threads=threads))
    assert isinstance(last, Finished)
    return last.values


def row(case: Case, values: Mapping[str, Any]) -> list[str]:
    """A line of the table."""
    signals = values["signals"]
    right = "ok" if values["verdict"] == case.ails else "WRONG"
    mixed = "" if values["sure"] else " (mixed)"
    return [case.name, *(_cell(signals.get(name)) for name in COLUMNS), f"{values['verdict']}{mixed}", right]


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case Mapping():
            return f"{value['value']:.2f} ({value['low']:.2f}-{value['high']:.2f})"
        case float():
            return f"{value:.3g}"
    return f"{value:,}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Cells as columns of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def main() -> int:
    """Train what is missing, examine every case, print the table."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--out", type=Path, default=Path("runs/doctor"))
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments.add_argument("--seed", type=int, default=42, help="of training; the limits were drawn from 42 alone")
    arguments.add_argument("--only", nargs="*", default=[case.name for case in CASES])
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.out.mkdir(parents=True, exist_ok=True)
    packs = prepare(chosen.out / "data")
    runs = chosen.out / f"{chosen.precision}-{chosen.seed}"
    rows = [["run", *COLUMNS, "verdict", ""]]
    for case in CASES:
        if case.name in chosen.only:
            with started(case.plain):
                run = trained(case, runs, packs, threads=chosen.threads, precision=chosen.precision, seed=chosen.seed)
                rows.append(row(case, examined(run, chosen.threads)))
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    print(command("doctor", None))
    print(where(f"{chosen.threads} threads", chosen.precision, f"seed {chosen.seed}"), end="\n\n")
    print("\n".join(aligned(rows)))
    print(f"\n{sum(cells[-1] == 'ok' for cells in rows[1:])} of {len(rows) - 1} verdicts are right")
    return int(any(cells[-1] != "ok" for cells in rows[1:]))


if __name__ == "__main__":
    sys.exit(main())
