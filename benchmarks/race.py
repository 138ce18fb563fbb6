"""A race by the clock: limner's MNIST DCGAN against the TensorFlow listing, so many minutes each, minute by minute.

    python benchmarks/speed.py --setup           makes the peer's environment, .venv-tensorflow
    python benchmarks/race.py                    25 minutes each, and writes benchmarks/results/race.{json,txt,png}

Both sides train the same network on the same pictures with the same batch and learning rates, one after the other, each
in a process of its own on the same processors. limner's side is its command line, as anybody would call it, stopped
with Ctrl-C at every mark and resumed after sampling. The listing's is the listing, under tf.function.

The clock runs while a side trains. limner's counts what `limner train` counts: steps, reading, its checkpoints, preview
pictures and watch, and the slower first step after each resumption. The listing's counts steps and reading alone: not
the tracing of its function. Sampling is counted for neither.

Both make samples of the same noise, limner from the averaged weights that it saves as its model, the listing from the
weights that it has. All samples are judged together at the end by the same network and the same reference. A side
whose samples are all there is not run again.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limner import features
from limner.core import __version__
from limner.core.files import atomic, write
from limner.core.random import normal
from limner.core.tensorfile import read_tensors
from limner.data.cache import finish
from limner.data.sources import open_parts
from limner.features.network import quantised
from limner.metrics import figures as f
from limner.operations.train import read_config, split_choices
from limner.tasks.generate import Generate
from limner.training.checkpoint import KIND, Checkpoint, newest_first
from limner.training.snapshot import snapshot
from machine import busyness, machine
from runs import RESULTS, command
from speed import PEERS, ROOT

LATENT, BATCH = 100, 128
SAMPLES, SEED = 5_000, 0
SIDES = {"limner": "limner", "last": "limner, weights not averaged", "tensorflow": "TensorFlow listing (tf.function)"}
"""What is judged: limner's side is judged twice, so that it can be told what is due to the averaging."""
COLOURS = {"limner": "#d1495b", "tensorflow": "#5c6b7f"}


@dataclass(frozen=True)
class Race:
    """One seed's race.

    folder  where samples and runs are kept
    marks   minutes of training at which samples are made
    seed    of both trainings
    """

    folder: Path
    marks: Sequence[float]
    seed: int

    def file(self, side: str, mark: float) -> Path:
        """Where samples stand."""
        folder = "limner" if side == "last" else side
        return self.folder / folder / f"{side}-{mark:06.2f}.npy"

    def told(self, side: str) -> dict[str, Any] | None:
        """What a side told when it was over; None if it was not run, or not to all of these marks."""
        file = self.folder / side / "told.json"
        if not file.is_file():
            return None
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        whole = told["marks"] == list(self.marks) and all(self.file(side, mark).is_file() for mark in self.marks)
        return told if whole else None


def ran(race: Race, side: str, pictures: Path, noise: Path) -> dict[str, Any]:
    """What a side tells: of each mark its seconds, steps and images; and the load. It is run if it was not."""
    if told := race.told(side):
        return told
    print(f"seed {race.seed}: {side}, {race.marks[-1]:g} minutes of training", flush=True)
    shutil.rmtree(race.folder / side, ignore_errors=True)
    (race.folder / side).mkdir(parents=True)
    before, busy = os.getloadavg()[0], busyness()
    facts, found = limner_side(race, noise) if side == "limner" else tensorflow_side(race, pictures, noise)
    others = (busyness()[0] - busy[0]) / (busyness()[1] - busy[1])
    made = {
        **facts, "marks": list(race.marks), "rows": found, "load": [before, os.getloadavg()[0]],
        "others": max(0.0, others), "processors": len(os.sched_getaffinity(0)), "machine": machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }  # fmt: skip
    write(race.folder / side / "told.json", json.dumps(made, indent=1) + "\n")
    return made


# --- limner -----------------------------------------------------------------------------------------------------------


Told = tuple[dict[str, str], list[dict[str, Any]]]
"""Version and precision; and of each mark seconds, steps and images."""


def limner_side(race: Race, noise: Path) -> Told:
    """`limner train` from mark to mark."""
    run = race.folder / "limner" / "run"
    found: list[dict[str, Any]] = []
    words = ["dcgan", "--data", "mnist", "--seed", str(race.seed), "--out", str(run)]
    for mark in race.marks:
        trained_for([*words, "--json"], 60 * mark - (found[-1]["seconds"] if found else 0))
        words = ["--resume", str(run)]
        path = newest_first(run / "checkpoints")[0]
        checkpoint = Checkpoint(path, *read_tensors(path, KIND))
        for side, weights in (("limner", checkpoint), ("last", unaveraged(checkpoint))):
            np.save(race.file(side, mark), samples(weights, run, np.load(noise)))
        found.append({"seconds": checkpoint.header["seconds"], "steps": checkpoint.header["step"],
                      "images": checkpoint.header["seen"]})  # fmt: skip
        tell(mark, found[-1])
    here = checkpoint.header["machine"]
    return {"version": f"limner {__version__}, torch {here['torch']}", "precision": here["precision"]}, found


def trained_for(words: Sequence[str], seconds: float) -> None:
    """Let `limner train` train for so long, then press Ctrl-C and wait until it has saved."""
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", "train", *words], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        began, running, asked = time.monotonic(), False, False
        for line in process.stdout:
            event = json.loads(line)["event"]
            running = running or event == "progress"
            if not running and event == "note":
                began = time.monotonic()  # Opening the data and building the networks are not training.
            if running and not asked and time.monotonic() - began >= seconds:
                process.send_signal(signal.SIGINT)
                asked = True
        code = process.wait()
    finally:
        process.kill()
        process.wait()
    if code != 128 + signal.SIGINT:
        raise SystemExit(
            "limner's training ended before its time was over" if code == 0 else f"limner train failed with code {code}"
        )


def samples(found: Checkpoint, run: Path, noise: np.ndarray) -> np.ndarray:
    """(N, C, H, W)  what a checkpoint's averaged weights make of noise, uint8."""
    settings = read_config(run)
    name = str(settings.pop("method"))
    method = snapshot(found, name, split_choices(name, settings, str(run))[1])
    assert isinstance(method, Generate)
    drawn = method.draw(torch.from_numpy(noise))
    return ((quantised(drawn) + 1) * 127.5).round().to(torch.uint8).numpy()


def unaveraged(found: Checkpoint) -> Checkpoint:
    """The checkpoint with the last weights in the place of the averaged ones."""
    last = {
        name: found.tensors["method." + name.removeprefix("average.")]
        for name in found.tensors
        if name.startswith("average.")
    }
    return replace(found, tensors={**found.tensors, **last})


# --- the listing ------------------------------------------------------------------------------------------------------


def tensorflow_side(race: Race, pictures: Path, noise: Path) -> Told:
    """The listing from mark to mark."""
    python = ROOT / ".venv-tensorflow" / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{python} is missing: python benchmarks/speed.py --setup")
    words = [f"{60 * mark}={race.file('tensorflow', mark)}" for mark in race.marks]
    process = subprocess.Popen(
        [str(python), str(PEERS / "tensorflow_race.py"), str(pictures), str(noise), str(BATCH), str(race.seed), *words],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    version, found = "", []
    try:
        for line in process.stdout:
            one = json.loads(line)
            version = one.get("version", version)
            if "seconds" in one:
                found.append({name: one[name] for name in ("seconds", "steps", "images")})
                tell(race.marks[len(found) - 1], one)
        if process.wait():
            raise SystemExit(f"the TensorFlow listing failed with code {process.returncode}")
    finally:
        process.kill()
        process.wait()
    return {"version": version, "precision": "float32"}, found


def tell(mark: float, row: Mapping[str, Any]) -> None:
    """Print how far a side is."""
    print(f"  minute {mark:g}: {row['steps']:,} steps, {row['images']:,} images, {row['seconds']:.1f} s", flush=True)


# --- the judge --------------------------------------------------------------------------------------------------------


def judged(races: Sequence[Race]) -> tuple[str, dict[str, Any], dict[int, dict[str, list[dict[str, Any]]]]]:
    """FD-digits of all samples, and of as many held-out real pictures, against all pictures that were learned from.

    returns  what the reference is; the real row; and by seed and side a figure for each mark
    """
    data, held_out = finish(open_parts("mnist"))
    assert held_out is not None
    eye = features.load(f.suited(data.manifest))

    def cloud(batches: Iterator[torch.Tensor]) -> f.Cloud:
        made = f.Cloud(eye)
        for batch in batches:
            made.update(batch)
        return made

    reference = cloud(f.real_pictures(data, len(data)))

    def distance(batches: Iterator[torch.Tensor]) -> dict[str, Any]:
        (found,) = f.figures(cloud(batches), reference, ("fd",))
        return {"value": found.value, "low": found.low, "high": found.high}

    def stored(file: Path) -> Iterator[torch.Tensor]:
        for part in torch.from_numpy(np.load(file)).split(f.BATCH):
            yield part.float() / 127.5 - 1

    about = (
        f"FD-digits (weights {eye.weights_sha256[:12]}): {SAMPLES:,} samples of noise seed {SEED} against the "
        f"{len(data):,} pictures that were learned from; ± is a 95 % range of the sampling"
    )
    by_seed = {
        race.seed: {side: [distance(stored(race.file(side, mark))) for mark in race.marks] for side in SIDES}
        for race in races
    }
    return about, distance(f.real_pictures(held_out, SAMPLES)), by_seed


# --- what is written --------------------------------------------------------------------------------------------------


def page(results: Mapping[str, Any]) -> Iterator[str]:
    """The results as text."""
    from limner.reports.words import measured

    yield results["command"]
    yield ""
    yield "The MNIST DCGAN, minute by minute: limner train dcgan --data mnist, and the TensorFlow listing."
    yield f"Both: batch {BATCH}, Adam 1e-4, the same network and pictures, one after the other on the same processors."
    yield results["judge"]
    yield f"real data: {measured(results['real'])} ({SAMPLES:,} held-out pictures)"
    for seed, race in results["races"].items():
        yield ""
        for side in ("limner", "tensorflow"):
            told = race["told"][side]
            m, load = told["machine"], told["load"]
            yield (
                f"{told['version']}, {told['precision']}: seed {seed}, {told['date']}, {m['cpu']} ({m['flags']}), "
                f"{told['processors']} of {m['cores']} cores, {m['system']}; load average {load[0]:.2f} before, "
                f"{load[1]:.2f} after; others took {told['others']:.2f} processors"
            )
        yield ""
        yield (f"{'':8}{'limner':>12}{'':>16}{'not averaged':>18}   {'TensorFlow listing':>18}")
        yield f"{'minute':>6}  {'images':>12}{'FD-digits':>16}{'FD-digits':>18}   {'images':>12}{'FD-digits':>16}"
        for i, mark in enumerate(results["marks"]):
            ours, theirs = (race["told"][side]["rows"][i]["images"] for side in ("limner", "tensorflow"))
            fd = {side: measured(race["fd"][side][i]) for side in SIDES}
            yield (f"{mark:6g}  {ours:12,}{fd['limner']:>16}{fd['last']:>18}   {theirs:12,}{fd['tensorflow']:>16}")
        yield ""
        yield from (sentence(results["marks"], race, side) for side in ("limner", "last"))


def sentence(marks: Sequence[float], race: Mapping[str, Any], side: str) -> str:
    """From when on limner is as good as the listing is in the end: untrained networks are no worse than young ones."""
    ours, theirs = ([row["value"] for row in race["fd"][one]] for one in (side, "tensorflow"))
    worse = [i for i, value in enumerate(ours) if value > theirs[-1]]
    after = worse[-1] + 1 if worse else 0
    if after == len(marks):
        return f"{SIDES[side]}: is not as good as the listing is at minute {marks[-1]:g} ({theirs[-1]:.3g})"
    return (
        f"{SIDES[side]}: from minute {marks[after]:g} on at least as good as the listing is at minute {marks[-1]:g} "
        f"({theirs[-1]:.3g})"
    )


def draw(results: Mapping[str, Any], file: Path) -> None:
    """FD-digits over minutes of training: each seed's line, and the mean over seeds where there are several."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    races = list(results["races"].values())
    figure, axis = plt.subplots(figsize=(9, 4.8))
    ends = {side: statistics.fmean(race["fd"][side][-1]["value"] for race in races) for side in COLOURS}
    for side, colour in COLOURS.items():
        clocks = [[row["seconds"] / 60 for row in race["told"][side]["rows"]] for race in races]
        minutes = [statistics.fmean(values) for values in zip(*clocks, strict=True)]
        lines = [[row["value"] for row in race["fd"][side]] for race in races]
        mean = [statistics.fmean(values) for values in zip(*lines, strict=True)]
        for clock, line in zip(clocks, lines, strict=True) if len(lines) > 1 else []:
            axis.plot(clock, line, color=colour, alpha=0.3, linewidth=1)
        axis.plot(minutes, mean, color=colour, linewidth=2.6, marker="o", markersize=4, clip_on=False)
        name = "limner" if side == "limner" else "TensorFlow\ntf.function"
        # Names stand apart where the lines end side by side.
        above = ends[side] == max(ends.values())
        axis.annotate(
            f"{name}  {mean[-1]:.2g}", (minutes[-1], mean[-1]), xytext=(9, 0), textcoords="offset points",
            va="bottom" if above else "top", color=colour, fontsize=12,
            fontweight="bold" if side == "limner" else "normal", annotation_clip=False,
        )  # fmt: skip
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.margins(x=0)
    axis.set_xlim(left=0)
    axis.set_xlabel("minutes of training", fontsize=11)
    axis.set_title("The same DCGAN on MNIST, by the clock: FD-digits, lower is better", loc="left", fontsize=13,
                   fontweight="bold")  # fmt: skip
    axis.grid(axis="y", color="#e6e9ee", linewidth=0.8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(length=0)
    told = races[0]["told"]["limner"]
    theirs = races[0]["told"]["tensorflow"]["precision"]
    seeds = f"seed {next(iter(results['races']))}" if len(races) == 1 else f"mean of {len(races)} seeds"
    figure.text(
        0.01, 0.012,
        f"{told['machine']['cpu']}, {told['processors']} processors, no GPU, {told['date']}; limner in "
        f"{told['precision']}, TensorFlow in {theirs}; {seeds}\n{SAMPLES:,} samples a point; real pictures score "
        f"{results['real']['value']:.2g}",
        fontsize=8.5, color="#555555",
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    with atomic(file) as place:
        figure.savefig(place, format="png", dpi=130)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train by turns, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25, help="of training, for each side")
    parser.add_argument("--every", type=float, default=1, help="minutes between samples")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--runs", type=Path, default=Path("runs/race"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of race.{json,txt,png}")
    chosen = parser.parse_args(arguments)
    marks = [chosen.every * (i + 1) for i in range(round(chosen.minutes / chosen.every))]
    pictures, noise = chosen.runs.absolute() / "pictures.npy", chosen.runs.absolute() / "noise.npy"
    chosen.runs.mkdir(parents=True, exist_ok=True)
    data, _ = finish(open_parts("mnist"))
    assert isinstance(data.samples, np.ndarray)
    np.save(pictures, data.samples)
    np.save(noise, normal(SEED, SAMPLES, LATENT, "sample").numpy())
    del data
    races = [Race(chosen.runs.absolute() / f"seed-{seed}", marks, seed) for seed in chosen.seeds]
    told = {race.seed: {side: ran(race, side, pictures, noise) for side in ("limner", "tensorflow")} for race in races}
    about, real, distances = judged(races)
    results = {
        "command": command("race", arguments), "marks": marks, "judge": about, "real": real,
        "races": {str(seed): {"told": told[seed], "fd": distances[seed]} for seed in chosen.seeds},
    }  # fmt: skip
    write(chosen.out / "race.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    text = "\n".join(page(results)) + "\n"
    write(chosen.out / "race.txt", text)
    draw(results, chosen.out / "race.png")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
