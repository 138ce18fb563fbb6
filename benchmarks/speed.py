"""How fast limner is beside what people would use instead, all in one run that takes turns.

    python benchmarks/speed.py --setup           make the peers' environments (.venv-tensorflow, .venv-jax, .venv-jpeg)
    python benchmarks/speed.py                   measure everything, and write benchmarks/results/speed.{json,txt,png}
    python benchmarks/speed.py --only dcgan      measure one section again, and keep the others

Each peer is a small script in benchmarks/peers in a process of its own. In every round each takes its turn of about
a second while the others wait, so that a busy moment hits all of them; a figure is the median of the rounds. "One
thread" means that the process may use one processor, "two" that it may use two. PyTorch is the one that limner itself
runs on. CPU time counts all threads of the process. Peak memory is the process's largest resident set.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from machine import busyness, machine

ROOT = Path(__file__).parents[1]
PEERS, RESULTS = Path(__file__).parent / "peers", Path(__file__).parent / "results"
ENVIRONMENTS = {
    "tensorflow": ("tensorflow-cpu==2.21.0",),
    "jax": ("jax==0.10.2", "jaxlib==0.10.2"),
    "jpeg": ("simplejpeg==1.9.0", "pillow==13.0.0", "numpy==2.4.6"),
}
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
"""What `limner` sets for itself before torch loads."""
ASLEEP = {"GOMP_SPINCOUNT": "0"}
"""Threads that wait sleep at once, always."""
BATCH = 128
TURN = 1.0
"""Seconds that a turn takes, about."""
LONG = 5.0
"""Where it takes limner half a second to see who else is there."""


@dataclass
class Peer:
    """A process that waits for its turn."""

    process: subprocess.Popen[str]
    version: str = ""

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a peer stopped: {self.process.args}")
        return json.loads(line)

    def turn(self, work: str, times: int) -> dict[str, Any]:
        """Do some work; its times in seconds and the peak of memory in MB."""
        assert self.process.stdin is not None
        print(work, times, file=self.process.stdin, flush=True)
        return self.answer()


@contextmanager
def peer(
    script: str, *words: object, environment: str = "", cores: int = 1, variables: Mapping[str, str] = {}
) -> Iterator[Peer]:
    """Start a peer on so many processors, with environment variables of its own, and end it afterwards."""
    python = ROOT / f".venv-{environment}" / "bin" / "python" if environment else Path(sys.executable)
    if not python.exists():
        raise SystemExit(f"{python} is missing: python benchmarks/speed.py --setup")
    ours = script.startswith("limner")
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])} if ours else {}
    process = subprocess.Popen(
        [str(python), str(PEERS / f"{script}.py"), *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **(WAITING if ours else {}), **path, **variables},
        preexec_fn=lambda: os.sched_setaffinity(0, range(cores)),
    )  # fmt: skip
    try:
        made = Peer(process)
        made.version = made.answer()["version"]
        yield made
    finally:
        process.kill()
        process.wait()


def race(
    peers: Mapping[str, Peer], work: Mapping[str, str], rounds: int, turn: float = TURN
) -> dict[str, dict[str, Any]]:
    """Time each peer's work in rounds in which they take turns.

    work     what each does
    turn     seconds that it takes, about
    returns  for each, ms for one piece of work: median, least and most of wall clock, median of CPU; and peak MB
    """
    times = {}
    for name, one in peers.items():
        one.turn(work[name], 2)
        times[name] = max(1, round(turn / one.turn(work[name], 1)["wall"]))
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, one in peers.items():
            told[name].append(one.turn(work[name], times[name]))
    result = {}
    for name, answers in told.items():
        wall, cpu = ([1e3 * one[kind] / times[name] for one in answers] for kind in ("wall", "cpu"))
        result[name] = {
            "version": peers[name].version, "ms": statistics.median(wall), "least": min(wall), "most": max(wall),
            "cpu_ms": statistics.median(cpu), "peak_mb": max(one["peak"] for one in answers), "times": times[name],
        }  # fmt: skip
    return result


# --- what is measured -------------------------------------------------------------------------------------------------

Start = tuple[str, tuple[object, ...], str]
"""A peer's script, its words, and its environment."""


def training(pictures: np.ndarray, peers: Mapping[str, Start], sampling: Sequence[str], given: Any) -> dict[str, Any]:
    """Steps of training, and sampling by those that do it, on one and on two processors."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.npy"
        np.save(file, pictures)
        result: dict[str, Any] = {}
        for cores in given.cores:
            with ExitStack() as stack:
                there = {
                    name: stack.enter_context(
                        peer(script, file, BATCH, given.seed, *words, environment=environment, cores=cores)
                    )
                    for name, (script, words, environment) in peers.items()
                }
                steps = race(there, dict.fromkeys(there, "step"), given.rounds)
                some = {name: there[name] for name in sampling}
                samples = race(some, dict.fromkeys(some, "sample"), given.rounds)
                result[str(cores)] = {"step": steps, "sample": samples}
    return result


def digits() -> np.ndarray:
    """Pictures enough for a hundred steps."""
    from limner.data.cache import finish
    from limner.data.sources import open_data

    return finish(open_data("mnist")).samples[:12_800]


def dcgan(given: Any) -> dict[str, Any]:
    """MNIST DCGAN: a step of 128 pictures, 28×28 grey."""
    peers: dict[str, Start] = {
        "limner": ("limner_dcgan", (), ""),
        **whole(),
        "TensorFlow tf.function": ("tensorflow_dcgan", (), "tensorflow"),
        "TensorFlow eager": ("tensorflow_dcgan", ("eager",), "tensorflow"),
        "PyTorch eager": ("pytorch_dcgan", (), ""),
        "JAX jit": ("jax_dcgan", (), "jax"),
    }
    return training(digits(), peers, ["limner", "TensorFlow tf.function", "PyTorch eager"], given)


def rgb(given: Any) -> dict[str, Any]:
    """DCGAN as published: a step of 128 pictures, 64×64 colour."""
    noise = np.random.default_rng(given.seed).integers(256, size=(1_280, 3, 64, 64), dtype=np.uint8)
    peers: dict[str, Start] = {
        "limner": ("limner_dcgan", (), ""), **whole(), "PyTorch eager": ("pytorch_dcgan", (), ""),
    }  # fmt: skip
    return training(noise, peers, list(peers), given)


def neighbour(given: Any) -> dict[str, Any]:
    """Beside a busy neighbour: a step of the MNIST DCGAN, and of one of width 16, while another process never rests."""
    forms: dict[str, tuple[int, Mapping[str, str]]] = {
        "limner, 1 processor": (1, {}), "limner, 2 processors": (2, {}),
        "2 processors, always asleep": (2, ASLEEP),
    }  # fmt: skip
    kinds: dict[str, dict[str, Any]] = {}
    for width, kind in ((64, "neighbour, width 64"), (16, "neighbour, width 16")):
        with ExitStack() as stack:
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "pictures.npy"
            np.save(file, digits())
            there = {
                name: stack.enter_context(
                    peer("limner_dcgan", file, BATCH, given.seed, "auto", width, cores=cores, variables=variables)
                )
                for name, (cores, variables) in forms.items()
            }
            alone = race(there, dict.fromkeys(there, "step"), given.rounds, LONG)
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
            beside = race(there, dict.fromkeys(there, "step"), given.rounds, LONG)
        kinds[kind] = {"alone": alone, "beside a busy neighbour": beside}
    return {"2": kinds}


def whole() -> dict[str, Start]:
    """limner in float32, where it would compute in bfloat16 by itself."""
    return {"limner --precision fp32": ("limner_dcgan", ("fp32",), "")} if "amx_bf16" in machine()["flags"] else {}


def data(given: Any) -> dict[str, Any]:
    """Reading pictures: a folder of 200 JPEGs of 640×480 px to 64×64, and packed pictures; images/s on one thread."""
    from PIL import Image

    files, size = 200, 64
    rng = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for i in range(files):
            # Smooth colours with some grain weigh as much as photographs do.
            coarse = Image.fromarray(rng.integers(256, size=(12, 16, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), dtype=np.float32)
            grain = smooth + rng.normal(0, 6, smooth.shape)
            Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(f"{folder}/{i:04}.jpg", quality=90)
        jpeg = stack.enter_context(peer("jpeg", folder, size, environment="jpeg"))
        ours = stack.enter_context(peer("limner_data", folder, size))
        rows = {
            "Pillow in full": (jpeg, "full", files),
            "Pillow draft": (jpeg, "draft", files),
            "simplejpeg": (jpeg, "simplejpeg", files),
            "limner prepare": (ours, "prepare", files),
            "limner packed, 28×28 grey": (ours, "small", BATCH),
            "limner packed, 64×64 colour": (ours, "large", BATCH),
        }
        work = {name: kind for name, (_, kind, _) in rows.items()}
        told = race({name: one for name, (one, _, _) in rows.items()}, work, given.rounds)
        weight = sum(path.stat().st_size for path in Path(folder).iterdir()) / files / 1e3
    for name, (_, _, pictures) in rows.items():
        told[name]["images_per_second"] = 1e3 * pictures / told[name]["ms"]
    return {"1": {"read": told}, "kb_a_file": weight}


def start(given: Any) -> dict[str, Any]:
    """Starting: what a command costs before it works, ms of wall clock."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "limner --help": ["-m", "limner", "--help"],
        "limner train dcgan --help": ["-m", "limner", "train", "dcgan", "--help"],
        "limner list": ["-m", "limner", "list"],
        "python -c 'import torch'": ["-c", "import torch"],
    }
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(2 + given.rounds):
        for name, words in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], env=env, capture_output=True, check=True)
            if turn >= 2:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return {
        "2": {
            "start": {
                name: {"ms": statistics.median(all_), "least": min(all_), "most": max(all_)}
                for name, all_ in taken.items()
            }
        }
    }


SECTIONS = {"dcgan": dcgan, "rgb": rgb, "neighbour": neighbour, "data": data, "start": start}


# --- what is written --------------------------------------------------------------------------------------------------


def text(results: Mapping[str, Any]) -> Iterator[str]:
    """The results as a page of text."""
    yield "python benchmarks/speed.py"
    for name, section in SECTIONS.items():
        if name not in results:
            continue
        facts = results[name]
        yield ""
        yield (section.__doc__ or "").strip()
        m, load = facts["machine"], facts["load"]
        yield (
            f"{facts['date']}, {m['cpu']} ({m['flags']}), {m['cores']} cores, {m['system']}, Python {m['python']}, "
            f"seed {facts['seed']}, {facts['rounds']} rounds; load average "
            f"{load[0]:.2f} before, {load[1]:.2f} after; others took {facts['others']:.2f} processors"
        )
        if "kb_a_file" in facts:
            yield f"a file is {facts['kb_a_file']:.0f} kB"
        for cores, kinds in facts["times"].items():
            for kind, rows in kinds.items():
                yield ""
                yield from table(kind, int(cores), rows)


def count(cores: int) -> str:
    """So many processors, in words."""
    return "1 processor" if cores == 1 else f"{cores} processors"


def table(kind: str, cores: int, rows: Mapping[str, Any]) -> Iterator[str]:
    """One comparison."""
    processors = count(cores)
    if kind.startswith("neighbour"):
        yield f"  {kind.partition(', ')[2]}"
        for when, forms in rows.items():
            yield f"  {'ms a step, ' + when:34}{'wall':>8}  {'least–most':>15}{'CPU':>9}{'× the first':>13}"
            first = next(iter(forms.values()))["ms"]
            for name, row in forms.items():
                spread = f"{row['least']:7.1f}–{row['most']:<7.1f}"
                yield f"  {name:34}{row['ms']:8.1f}  {spread}{row['cpu_ms']:9.1f}{row['ms'] / first:12.2f}×"
    elif kind == "start":
        yield f"  {'':28}{'ms':>8}  {'least–most':>15}"
        for name, row in rows.items():
            yield f"  {name:28}{row['ms']:8.0f}  {row['least']:7.0f}–{row['most']:<7.0f}"
    elif kind == "read":
        yield f"  {processors:28}{'images/s':>10}{'CPU ms an image':>17}"
        for name, row in rows.items():
            pictures = row["images_per_second"] * row["ms"] / 1e3
            yield f"  {name:28}{row['images_per_second']:10,.0f}{row['cpu_ms'] / pictures:17.3f}"
    else:
        what = "ms a step" if kind == "step" else "ms for 128 samples"
        yield f"  {what + ', ' + processors:34}{'wall':>8}  {'least–most':>15}{'CPU':>9}{'× limner':>10}{'peak MB':>9}"
        ours = rows["limner"]["ms"]
        for name, row in rows.items():
            times = f"{row['ms'] / ours:.2f}×"
            yield (
                f"  {name:34}{row['ms']:8.1f}  {row['least']:7.1f}–{row['most']:<7.1f}{row['cpu_ms']:9.1f}"
                f"{times:>10}{row['peak_mb']:9,.0f}  {row['version']}"
            )


def draw(results: Mapping[str, Any], file: Path) -> None:
    """Bars of ms a step, limner's first and in colour, with how many times longer each other takes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [
        (title, results[name]["times"][cores]["step"])
        for name, title in (("dcgan", "MNIST DCGAN, 28×28 grey"), ("rgb", "DCGAN as published, 64×64 colour"))
        for cores in ("2",)
        if cores in results.get(name, {}).get("times", {})
    ]
    if not panels:
        return
    heights = [len(rows) for _, rows in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 0.5 * sum(heights) + 1.3 * len(panels)), height_ratios=heights, squeeze=False
    )
    for axis, (title, rows) in zip(axes[:, 0], panels, strict=True):
        ordered = sorted(rows.items(), key=lambda item: item[1]["ms"])
        ours = rows["limner"]["ms"]
        for place, (name, row) in enumerate(ordered):
            own = name == "limner"
            colour = "#d1495b" if own else "#e9a3ab" if name.startswith("limner") else "#b8c0cc"
            axis.barh(place, row["ms"], height=0.7, color=colour)
            ratio = "" if own else f"   {row['ms'] / ours:.1f}×"
            axis.text(row["ms"], place, f" {row['ms']:.0f} ms{ratio}", va="center", fontsize=10,
                      fontweight="bold" if own else "normal")  # fmt: skip
        axis.set_yticks(range(len(ordered)), [name for name, _ in ordered], fontsize=10)
        axis.get_yticklabels()[[name for name, _ in ordered].index("limner")].set_fontweight("bold")
        axis.invert_yaxis()
        axis.set_title(f"{title}: one training step of {BATCH} pictures", loc="left", fontsize=11)
        axis.set_xlim(0, max(row["ms"] for row in rows.values()) * 1.22)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.tick_params(length=0)
        axis.set_xticks([])
    facts = results["dcgan" if "dcgan" in results else "rgb"]
    rounds = " and ".join(str(results[name]["rounds"]) for name in ("dcgan", "rgb") if name in results)
    figure.text(
        0.01, 0.005,
        f"{facts['machine']['cpu']}, {facts['machine']['cores']} cores, no GPU, {facts['date']}; wall clock, median of "
        f"{rounds} interleaved rounds; shorter is better",
        fontsize=8, color="#555555",
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(file, dpi=130)


def setup() -> None:
    """Make the peers' environments beside .venv, each with pinned versions."""
    for name, packages in ENVIRONMENTS.items():
        home = ROOT / f".venv-{name}"
        print(f"making {home.name} with {', '.join(packages)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages], check=True)


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setup", action="store_true", help="make the peers' environments, and stop")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure this section; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of speed.{json,txt,png}")
    given = parser.parse_args()
    if given.setup:
        return setup()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "speed.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for name in given.only or SECTIONS:
        before, busy = os.getloadavg()[0], busyness()
        measured = SECTIONS[name](given)
        others = (busyness()[0] - busy[0]) / (busyness()[1] - busy[1])
        more = {key: measured.pop(key) for key in ("kb_a_file",) if key in measured}
        results[name] = {
            "date": time.strftime("%Y-%m-%d"), "machine": machine(), "seed": given.seed, "rounds": given.rounds,
            "load": [before, os.getloadavg()[0]], "others": max(0.0, others), **more, "times": measured,
        }  # fmt: skip
        file.write_text(json.dumps(results, indent=1) + "\n")
        page = "\n".join(text(results)) + "\n"
        (given.out / "speed.txt").write_text(page)
        draw(results, given.out / "speed.png")
    print(page, end="")


if __name__ == "__main__":
    main()
