"""The loop: steps, epochs, previews, checkpoints, the guard and interruptions of one run, told as events."""

import platform
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limner.core.errors import command
from limner.core.events import Epoch, Event, Progress, Saved, Warned
from limner.core.method import Batch
from limner.core.random import stream
from limner.data.dataset import Dataset
from limner.data.loader import batch_indices
from limner.training import checkpoint, cost
from limner.training.guard import COLLAPSED, IN_A_ROW, RELOADS, Diverged, Guard
from limner.training.interrupt import Interrupt, Interrupted, Left
from limner.training.learner import Learner
from limner.training.log import Log, plot, read_log

_LOG_EVERY = 25
_WATCH_EVERY = 250
_WATCH_AFTER = 1000  # Early samples are all alike without anything being wrong.
_TELL_EVERY = 0.2


@dataclass(frozen=True)
class Plan:
    """How a run goes.

    steps             steps in all
    batch             samples of a batch, over all processes
    batches           batches a step reads
    accumulate        micro-batches a process walks side by side
    checkpoint_every  steps between checkpoints
    keep              how many checkpoints stay
    preview_every     epochs between previews; the first and the last epoch have one anyway
    evaluate_every    epochs between evaluations; 0 for none
    """

    steps: int
    batch: int
    accumulate: int
    checkpoint_every: int
    keep: int
    preview_every: float
    evaluate_every: float = 0
    batches: int = 1

    @property
    def reads(self) -> int:
        """Samples that a step reads."""
        return self.batch * self.batches


@dataclass
class Loop:
    """One run of one learner over one data set.

    facts      goes into each checkpoint's header
    preview    writes the preview picture for a name and says where it is; called in the first process only
    evaluate   figures of the averaged model, of which the first is the score, lower better; in the first process only
    watch      what shows whether training goes well at a step: "ratio", the diversity of the averaged model's samples
               over the data's, and more for the log alone
    keep_best  writes the averaged model of a step, and its score, to a path, unless no model can be made of that step,
               and says whether it did; called in the first process only
    """

    learner: Learner
    dataset: Dataset
    folder: Path
    plan: Plan
    facts: Mapping[str, Any]
    preview: Callable[[str], Path]
    evaluate: Callable[[], dict[str, float]]
    watch: Callable[[int], Mapping[str, float]]
    keep_best: Callable[[Path, int, float], bool]

    def __post_init__(self) -> None:
        self.guard = Guard()
        self.step = 0
        self.seen = 0
        self.seconds = 0.0
        self.best = float("inf")
        self.peak = 0
        self.root = self.learner.seed
        self.log = Log(self.folder / "log.jsonl")
        self.due: list[str] = []
        self._recent: dict[str, list[float]] = defaultdict(list)
        self._sums: dict[str, list[float]] = {}
        self._saved_at = -1
        self._best_path = self.folder / "checkpoints" / "best.safetensors"

    # --- what a checkpoint holds -------------------------------------------------------------------------------

    def save(self) -> Path:
        """Write a checkpoint of this moment."""
        header = {
            "healthy": self.guard.healthy,
            "guard": asdict(self.guard),
            "seen": self.seen,
            "seconds": self.seconds,
            "peak": self.most_memory(),
            "best": None if self.best == float("inf") else self.best,
            "epoch_sums": self._sums,
            "recent": dict(self._recent),
            "due": self.due,
            **self.facts,
        }
        path = checkpoint.save(self.folder / "checkpoints", self.step, self.learner.state(), header, self.plan.keep)
        self._saved_at = self.step
        return path

    def resume(self, found: checkpoint.Checkpoint, *, anew: bool = False) -> None:
        """Go on from a checkpoint.

        anew   learning rates are those of the settings, and the guard forgets that it has gone back before
        """
        header = found.header
        self.step, self.seen, self.seconds = header["step"], header["seen"], header["seconds"]
        best = header["best"]
        self.best = best if best is not None and isfinite(best) else float("inf")
        self.peak = header.get("peak", 0)
        self.guard = Guard(**header["guard"])
        if anew:
            self.guard.reloads = self.guard.in_a_row = 0
        self._sums = header["epoch_sums"]
        self._recent = defaultdict(list, header.get("recent", {}))
        first = self.learner.world.first
        self.due = [name for name in header.get("due", []) if first or name == "diversity"]
        self._saved_at = self.step
        self.learner.restore(found.tensors, found.path)
        self._renew()
        if first:
            self.log.cut(self.step)

    def most_memory(self) -> int:
        """The most memory that the run has taken in this process, over all sittings, in bytes."""
        self.peak = max(self.peak, cost.peak(self.learner.world.device))
        return self.peak

    def _renew(self) -> None:
        """After going back, training sees other batches and noise, and moves in smaller steps."""
        again = self.guard.reloads
        self.learner.seed = stream(self.root, "again", again) if again else self.root
        self.learner.rate_factor = self.guard.rate_factor

    # --- the run ------------------------------------------------------------------------------------------------

    def run(self) -> Generator[Event, None, None]:
        """Train to the end, or to an interruption. Whoever stops iterating before leaves a checkpoint behind.

        raises Interrupted   after saving, where a signal came
        raises Diverged      where the guard's ladder ends
        """
        world, plan = self.learner.world, self.plan
        began, before, first, told = time.perf_counter(), self.seconds, self.step, 0.0
        with Interrupt() as interrupt:
            try:
                if world.first and self._saved_at != self.step:
                    # There is always something to go back to.
                    yield Saved("checkpoint", self.save())
                yield from self._work(interrupt)
                if world.agree(bool(interrupt.number)) and (self.step < plan.steps or world.agree(bool(self.due))):
                    raise self._interrupted(interrupt)
                while self.step < plan.steps:
                    # Whatever a step changes is changed before the first event about it is told.
                    values = self.learner.step(self.step, self._parts(), self.seen)
                    self.seconds = before + time.perf_counter() - began
                    yield from self._count(values)
                    if self.seconds - told > _TELL_EVERY or self.step == plan.steps:
                        told = self.seconds
                        speed = (self.step - first) / max(1e-9, self.seconds - before)
                        yield Progress(
                            "train", self.step, plan.steps, "steps", speed * plan.reads, "images/s",
                            (plan.steps - self.step) / speed, {k: v for k, v in values.items() if k.endswith("_loss")},
                        )  # fmt: skip
                    yield from self._work(interrupt)
                    stop = world.agree(bool(interrupt.number))
                    due = self.step % plan.checkpoint_every == 0 or self.step == plan.steps or stop
                    if due and world.first and self._saved_at != self.step:
                        yield Saved("checkpoint", self.save())
                    if stop and (self.step < plan.steps or world.agree(bool(self.due))):
                        raise self._interrupted(interrupt)
            except GeneratorExit:
                if world.first and self._saved_at != self.step:
                    self.save()
                raise

    def _interrupted(self, interrupt: Interrupt) -> Interrupted:
        return Interrupted(
            f"stopped at step {self.step:,} of {self.plan.steps:,}; everything so far is saved",
            f"go on with: {command('train', '--resume', self.folder)}",
            interrupt.number or 2,
        )

    def try_step(self, number: int) -> None:
        """Take the step of this number, to see how long it takes; the run can't be gone on with."""
        self.step = number
        self.learner.step(number, self._parts(), number * self.plan.reads)

    def _parts(self) -> list[Batch]:
        """This process's micro-batches of the joined batch."""
        plan, world = self.plan, self.learner.world
        numbers = range(self.step * plan.batches, (self.step + 1) * plan.batches)
        batches = [batch_indices(self.learner.seed, number, plan.batch, len(self.dataset)) for number in numbers]
        # Each part has its share of every batch.
        shares = np.split(np.stack(batches), world.size * plan.accumulate, axis=1)
        mine = [share.ravel() for share in shares[world.rank * plan.accumulate :][: plan.accumulate]]
        return [self._part(indices) for indices in mine]

    def _part(self, indices: np.ndarray) -> Batch:
        device = self.learner.world.device
        batch: Batch = {name: value.to(device) for name, value in self.dataset.take(indices).items()}
        for wrap in self.learner.wraps:
            batch = wrap.batch(batch, indices)
        return batch

    def _count(self, values: dict[str, float]) -> list[Event]:
        """Take note of a step that was made, and of what is due after it.

        raises Diverged   where the guard's ladder ends
        """
        events: list[Event] = []
        skipped = values.pop("skipped") > 0
        self.step += 1
        old, self.seen = self.seen / len(self.dataset), self.seen + self.plan.reads
        new, last, first = self.seen / len(self.dataset), self.step == self.plan.steps, self.learner.world.first
        if not skipped:
            for name, value in values.items():
                self._recent[name].append(value)
                total = self._sums.setdefault(name, [0.0, 0])
                total[0] += value
                total[1] += 1
        match self.guard.after(skipped):
            case "reload":
                events.append(self._go_back())
            case "stop":
                raise self._diverged(f"going back with a lower learning rate {RELOADS} times did not help")
        if first and (self.step % _LOG_EVERY == 0 or last) and self._recent:
            means = {name: sum(seen) / len(seen) for name, seen in self._recent.items()}
            self.log.add("train", step=self.step, seen=self.seen, seconds=round(self.seconds, 3), **means)
            self._recent.clear()
        if int(new) > int(old):
            means = {name: total / max(1, times) for name, (total, times) in self._sums.items()}
            self._sums = {}
            epochs = self.plan.steps * self.plan.reads / len(self.dataset)
            events.append(Epoch(int(new), max(1, round(epochs)), self.step, self.seconds, means))
            if first:
                self.log.add("epoch", step=self.step, epoch=int(new), **means)
        every = self.plan.evaluate_every
        self.due = [name for name, wanted in {
            "diversity": self.step % _WATCH_EVERY == 0,
            "preview": first and (last or _crossed(old, new, self.plan.preview_every) or int(old) == 0 < int(new)),
            "evaluation": first and every and (last or _crossed(old, new, every)),
        }.items() if wanted]  # fmt: skip
        return events

    def _work(self, interrupt: Interrupt) -> Iterator[Event]:
        """Do what is due at this step. What a signal cuts short stays due, and is done when the run is resumed."""
        work = {"diversity": self._watch, "preview": self._preview, "evaluation": self._evaluate}
        while self.due:
            try:
                with interrupt.heeded():
                    events = work[self.due[0]]()
            except Left:
                return
            del self.due[0]
            yield from events

    def _preview(self) -> list[Event]:
        count = len(self.dataset)
        epoch, before = self.seen // count, (self.seen - self.plan.reads) // count
        path = self.preview(f"epoch-{epoch:03d}" if epoch > before else f"step-{self.step:06d}")
        plot(read_log(self.log.path), self.folder / "losses.png")
        return [Saved("grid", path)]

    def _evaluate(self) -> list[Event]:
        figures = self.evaluate()
        self.log.add("evaluation", step=self.step, **figures)
        name, score = next(iter(figures.items()))
        if not score < self.best or not self.keep_best(self._best_path, self.step, score):
            return []
        self.best = score
        return [Saved(f"best model so far ({name} {score:.2f})", self._best_path)]

    def _watch(self) -> list[Event]:
        """Measure diversity, and say so when it is gone. Every process decides alike."""
        figures = self.watch(self.step)
        ratio = figures["ratio"]
        if self.learner.world.first:
            self.log.add("diversity", step=self.step, **figures)
        if self.step < _WATCH_AFTER:
            return []
        fell = ratio < COLLAPSED <= self.guard.diversity
        self.guard.diversity = ratio
        if not fell:
            return []
        if self.learner.world.first:
            self.log.add("guard", step=self.step, action="collapse", ratio=ratio)
        return [Warned(
            f"step {self.step:,}: the samples are becoming alike (diversity {ratio:.2f} of the data's; healthy is "
            f"above {COLLAPSED}): the generator may be collapsing"
        )]  # fmt: skip

    # --- when it breaks -----------------------------------------------------------------------------------------

    def _go_back(self) -> Event:
        """To the weights of the last healthy checkpoint; the step's number and the history stay.

        raises Diverged   if there is none
        """
        found, _ = checkpoint.load_newest(self.folder / "checkpoints", healthy=True)
        if found is None:
            raise self._diverged("no checkpoint is whole and healthy")
        self.learner.restore(found.tensors, found.path)
        self._renew()
        if self.learner.world.first:
            self.log.add("guard", step=self.step, action="reload", checkpoint=found.path.name)
        return Warned(
            f"step {self.step:,}: losses were not finite, so training went back to the weights of step "
            f"{found.header['step']:,} with the learning rates × {self.guard.rate_factor:g}"
        )

    def _diverged(self, why: str) -> Diverged:
        """The last sentence: what is left, and what to try."""
        if self.learner.world.first:
            self.log.add("guard", step=self.step, action="stop")
        healthy, _ = checkpoint.load_newest(self.folder / "checkpoints", healthy=True)
        left = [f"the last healthy checkpoint is {healthy.path}"] if healthy else []
        left += [f"the best model is {self._best_path}"] if self._best_path.is_file() else []
        rates = [
            f"--{player.replace('_', '-')}.lr {chosen.lr / 10:g}" for player, chosen in self.learner.settings.items()
        ]
        return Diverged(
            f"training diverged at step {self.step:,}: losses or gradients were not finite {IN_A_ROW} times in a row, "
            + "; ".join([f"and {why}", *left]),
            f"check the data, or learn more slowly: {command('train', '--resume', self.folder)} {' '.join(rates)}",
        )


def _crossed(old: float, new: float, every: float) -> bool:
    return int(new / every) > int(old / every)


def machine(device: torch.device) -> dict[str, Any]:
    """Where the work was done, by this device: for logs, cards and reports."""
    cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": torch.get_num_threads(),
        "gpu": "Apple GPU" if device.type == "mps" else cuda,
    }
