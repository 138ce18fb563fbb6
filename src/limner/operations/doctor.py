"""Doctor: what ails a run, by which evidence, and what to try next.

It reads the log, makes samples with the newest weights, and holds both against the data. Every limit below was measured
on runs that were healthy or broken on purpose (benchmarks/doctor.py prints them; benchmarks/results/doctor*.txt).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from limner.core import catalog
from limner.core.errors import LimnerError, ModelError, UsageError, command
from limner.core.events import Event, Finished, Note, Table, Warned
from limner.core.settings import Settings
from limner.reports.words import times

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.config import Adam
    from limner.data.dataset import Dataset
    from limner.metrics.interval import Interval
    from limner.tasks.generate import Generate
    from limner.training.checkpoint import Checkpoint


class Doctor(Settings):
    """Which run to look at, and how closely."""

    run: Path
    """The run folder: finished, interrupted or diverged."""
    held_out: str | None = None
    """Real data like the run's that it did not learn from; the data's own test part where it is not given."""
    samples: int = Field(default=1000, ge=50, le=10_000)
    """How many samples to make and compare."""
    seed: int = Field(default=0, ge=0)
    """Chooses the samples: the same seed gives the same figures."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the fastest there is."""
    threads: int | None = Field(default=None, ge=1)
    """Processor threads; all cores where it is not given."""


Verdict = Literal[
    "healthy", "mode collapse", "discriminator overpowering", "over-fitting/memorising", "diverged",
    "too little training", "unclear",
]  # fmt: skip

FEWEST = 1000
"""Steps before which samples say nothing: healthy runs had a diversity of .12-.77 at 250-750 steps, .7-.93 later."""
EXPLODED = 1000.0
"""A loss of a game beyond this has diverged: the largest of a run that had not was 16, diverged ones were at 4e4 and
more. Losses without a game have sizes of their own, and are held against the beginning of their run."""
COLLAPSED = 0.35
"""Diversity ratio below which samples are alike, as for the guard: healthy .72-1.16, collapsed 0-.30."""
FEW_MODES = 0.7
"""Share of the modes that are made evenly, exp(-reverse KL): healthy .88-.97, collapsed .10-.69."""
NARROW = 0.25
"""Coverage over precision, i.e. how much variety there is among what looks real: healthy .40-.78, collapsed .00-.16,
where it is not the evenness that is lost."""
ALIEN = 0.1
"""Precision below which samples look like nothing real: 0 after 20 steps and mostly where the discriminator overpowers;
.19-1 in every run that had learnt something."""
WINS, LOSES = 0.99, 0.1
"""The discriminator overpowers where it ranks more pairs rightly than the first and its cross-entropy is below the
second, over the last quarter: overpowering ones 1.0 and 0-.008; else .39-.999 and .13-1.39, or 1.0 and .02-.05 where it
knew 200 pictures by heart, or the generator had broken down. Other losses do not tell how sure it is: there the
generator's gradient has to be gone."""
VANISHED, FLAT = 5e-3, 0.01
"""Norm of the generator's gradient, and its loss without the sign, below which its loss is saturated: .0010 and .0001
in a minimax game; .04-70 and .2-13 in all others, but for a generator that broke down by itself (.0000 and 7)."""
FASTER = 5.0
"""Discriminator's learning rate over the generator's beyond which it runs away: 1 in healthy runs, and up to 4 is usual
practice; 200 was measured to overpower."""
COPIES = 0.6
"""Chance of a sample hugging a training picture whose interval lies above this: .5 is natural, copies with a little
noise 1; in runs 0-.49, and up to .75 where all samples were alike, which is not heard. The distance alone would not
do: a collapsed generator in a crowded spot got .82."""
BY_HEART = 0.53
"""Chance that a training picture scores above an unseen one, whose interval lies above this: .5 is natural. Its low
end, pooled over three checkpoints, was up to .51 in runs that see too much data to know any by heart, .39-.50 in 10
looks at one on 1,397 pictures, .52-.56 in 6 at one on 200, and .56-.75 in 13 at others on 100 and 200. A single
checkpoint sways too much: .45-.57 in that run on 200."""
MANY_PASSES = 50
"""Passes over the data from which on a discriminator may win because it knows its pictures by heart."""
LIKELY = 0.5
"""In place of BY_HEART where it does rank nearly all pairs rightly after so many passes, which speaks for it: the low
end of the run on 200 pictures was .51-.55, by processor and precision."""
RISING = 0.05
"""Coverage gained since the oldest kept checkpoint from which on training still helps: twice the chance error of the
difference at 1,000 samples. Young runs on the ring gained .39-.42."""
FALLING = -0.1
"""Coverage lost since then that casts a doubt on a healthy run: well beyond chance; a small DCGAN on MNIST lost .11."""
_FEW = 20
_LOOKS = 3
_TRAINING = 10_000
_OF_A_MODE = 10
"""Samples that there must be for each class: fewer leave classes out by chance, whatever the model."""


@dataclass(frozen=True)
class Signals:
    """What was measured of a run. None where it could not be.

    state               "finished", "stopped" or "running"
    steps               done
    planned             of the whole run
    epochs              passes over the data
    broken              steps that were skipped, because a loss or gradient was not finite
    reloads             times the guard went back to a checkpoint
    gave_up             whether the guard stopped the run
    late_reloads        of them, in the last quarter of the steps
    loss                over the last quarter: of a game the largest of a player's without its sign, else the mean
    most                what that loss stays below in a run that works
    sign_rate           share of pairs that the discriminator ranked rightly, over the last quarter
    discriminator_loss  over the last quarter
    odds                whether that is a cross-entropy, of which 1.39 is guessing
    generator_loss      over the last quarter
    generator_gradient  its norm, over the last quarter
    rate_ratio          the discriminator's learning rate over the generator's
    won_at              step from which on the discriminator overpowered
    alike_at            step at which the samples became alike, having been varied before
    diversity           mean distance between samples over that between real ones
    precision           share of the samples that lie among real ones
    coverage            share of the real ones that have a sample beside them
    real_precision      the same of real ones against other real ones
    real_coverage       the same
    modes_made          modes or classes with a sample
    modes_there         modes or classes of the data
    modes               share of the modes that are made evenly: exp(-reverse KL)
    copying             chance that a sample hugs a training picture more than is natural (see _copying)
    memory              chance that the discriminator scores a training picture above an unseen one, over checkpoints
    mute                why unseen pictures do not tell that; "" where there were none, or they do
    gained              coverage gained since the oldest checkpoint that was looked at
    """

    state: str
    steps: int
    planned: int
    epochs: float
    broken: int = 0
    reloads: int = 0
    late_reloads: int = 0
    gave_up: bool = False
    loss: float | None = None
    most: float = EXPLODED
    sign_rate: float | None = None
    discriminator_loss: float | None = None
    odds: bool = True
    generator_loss: float | None = None
    generator_gradient: float | None = None
    rate_ratio: float | None = None
    won_at: int | None = None
    alike_at: int | None = None
    diversity: float | None = None
    precision: float | None = None
    coverage: float | None = None
    real_precision: float | None = None
    real_coverage: float | None = None
    modes_made: int | None = None
    modes_there: int | None = None
    modes: float | None = None
    copying: Interval | None = None
    memory: Interval | None = None
    mute: str = ""
    gained: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What ails a run.

    verdict  the likeliest, one word of Verdict
    sure     whether the evidence points one way
    reasons  a sentence for each verdict that something speaks for, the likeliest first
    missing  sentences: what could not be looked at
    """

    verdict: Verdict
    sure: bool
    reasons: Mapping[Verdict, str]
    missing: tuple[str, ...] = ()


def doctor(request: Doctor) -> Iterator[Event]:
    """Look at a run. Tells the verdict, then the evidence; the last event is Finished.

    raises UsageError   if it is no run, nothing was logged, or the held-out data do not suit
           DataError    if the held-out data that were asked for can't be read
    """
    run = _opened(request.run)
    odds = getattr(catalog.method(run.method), "odds", True)
    signals = replace(from_log(run.lines, run.planned, run.state, odds=odds), rate_ratio=_rate_ratio(run))
    weights, problems = _newest_weights(run)
    yield from (Warned(problem) for problem in problems)
    if weights is None:
        yield Note("there are no weights to make samples with, so the log alone is looked at")
    else:
        if weights.step != signals.steps:
            yield Note(f"the newest whole weights are those of step {weights.step:,}, so samples are made with these")
        signals = yield from _examined(request, run, weights, signals)
    found = diagnose(signals)
    yield Table("\n".join(_told(request.run, signals, found)), (), ())
    yield Table("evidence", ("signal", "value", "healthy", ""), tuple(_rows(signals)))
    measured = {name: value for name, value in asdict(signals).items() if value is not None}
    yield Finished(
        "doctor",
        {
            "verdict": found.verdict, "sure": found.sure, "run": str(request.run), "reasons": dict(found.reasons),
            "missing": list(found.missing), "signals": measured,
        },
        tuple(_next(request.run, run, signals, found)),
    )  # fmt: skip


# --- the verdict ------------------------------------------------------------------------------------------------------


def diagnose(s: Signals) -> Diagnosis:
    """The verdict on a run's signals: every ailment that something speaks for, the likeliest first."""
    missing = tuple(_missing(s))
    found = {verdict: reason for verdict, reason in _ailments(s).items() if reason}
    if found:
        verdict, *others = found
        return Diagnosis(verdict, set(others) <= _FOLLOWS[verdict] and not _doubtful(s, verdict), found, missing)
    if _is_well(s):
        well = "the players are in balance, and the samples are varied, lie among the data and are no copies"
        doubts = []
        if s.gained is not None and s.gained < FALLING:
            doubts.append(f"yet coverage has fallen by {-100 * s.gained:.0f} points since the oldest checkpoint")
        if s.reloads:
            doubts.append(f"yet losses were not finite on the way, and training went back {times(s.reloads)}")
        return Diagnosis("healthy", not doubts, {"healthy": "; ".join([well, *doubts])}, missing)
    return Diagnosis("unclear", False, {"unclear": "nothing is clearly wrong, nor is enough clearly right"}, missing)


_FOLLOWS: dict[Verdict, set[Verdict]] = {
    "diverged": set(),
    "too little training": set(),
    "over-fitting/memorising": {"discriminator overpowering"},
    "discriminator overpowering": {"mode collapse", "too little training"},
    "mode collapse": {"too little training"},
}
"""What each ailment brings about: to see that as well is no contradiction."""


def _ailments(s: Signals) -> dict[Verdict, str]:
    """Each ailment and what speaks for it, or "": the likeliest first."""
    if broken := _divergence(s):
        return {"diverged": broken}
    if s.steps < FEWEST:
        return {"too little training": f"{s.steps:,} steps are few: before {FEWEST:,}, samples and losses say little"}
    found: dict[Verdict, str] = {"over-fitting/memorising": _over_fitting(s)}
    # Samples that are alike are easy to tell from real ones, and a discriminator that always wins teaches nothing: each
    # brings the other about. The discriminator is to blame where it won while the samples were still varied, or where
    # the generator could not follow it.
    won_first = s.won_at is not None and s.alike_at is not None and s.won_at < s.alike_at
    if won_first or _starved(s):
        found["discriminator overpowering"] = _overpowering(s)
    found["mode collapse"] = _collapse(s)
    found["discriminator overpowering"] = _overpowering(s)
    return {**found, "too little training": _unripe(s)}


def _divergence(s: Signals) -> str:
    if s.gave_up:
        return "losses or gradients were not finite again and again, and going back with a lower rate did not help"
    if s.loss is not None and (s.loss > s.most or not math.isfinite(s.loss)):
        return f"losses have grown to {s.loss:,.3g}; a run that works stays below {s.most:,.4g}"
    if s.late_reloads:
        return f"losses were not finite of late, and training went back to a checkpoint {times(s.late_reloads)}"
    return ""


def _over_fitting(s: Signals) -> str:
    # Samples that are all alike are as one: it may lie anywhere, close to a training picture too.
    if s.copying is not None and s.copying.low > COPIES and not _alike(s):
        return (
            f"samples hug training pictures more than real ones do, {s.copying.value:.0%} of the time (50% is natural):"
            " the generator copies"
        )
    likely = s.epochs > MANY_PASSES and s.sign_rate is not None and s.sign_rate > WINS
    if s.memory is not None and s.memory.low > (LIKELY if likely else BY_HEART):
        return (
            f"the discriminator scores training pictures above unseen ones {s.memory.value:.0%} of the time (50% is "
            "natural): it learns them by heart"
        )
    return ""


def _collapse(s: Signals) -> str:
    if s.diversity is not None and _alike(s):
        alone = " and the generator broke down by itself, for no gradient passes it" if _broke_down(s) else ""
        return f"samples are alike: the distance between two is {s.diversity:.2f} of that between real ones{alone}"
    if s.precision is None or s.coverage is None or s.precision < ALIEN:
        return ""
    if s.modes is not None and s.modes < FEW_MODES:
        even = s.modes * (s.modes_there or 1)
        return f"samples keep to some of the data's kinds: as varied as {even:.1f} even ones, of {s.modes_there}"
    if s.coverage < NARROW * s.precision:
        return f"{s.precision:.0%} of the samples look real, but only {s.coverage:.0%} of the data are reached"
    return ""


def _alike(s: Signals) -> bool:
    return s.diversity is not None and s.diversity < COLLAPSED


def _broke_down(s: Signals) -> bool:
    """Whether the generator's loss asks for a change of which none reaches its weights, whoever judges."""
    if not s.odds or s.generator_gradient is None or s.generator_loss is None:
        return False
    return s.generator_gradient < VANISHED and abs(s.generator_loss) > FLAT


def _overpowering(s: Signals) -> str:
    if not _wins(s) or (_alike(s) and _broke_down(s)):
        return ""
    surely = f"at a loss of {s.discriminator_loss:.3f}" if s.odds else "and the generator's gradient is gone"
    return (
        f"the discriminator tells {s.sign_rate:.1%} of the pairs apart {surely}, so the generator learns next to "
        "nothing from it"
    )


def _wins(s: Signals) -> bool:
    return _dominates(s.sign_rate, s.discriminator_loss, s.generator_gradient, s.odds)


def _dominates(sign_rate: float | None, loss: float | None, gradient: float | None, odds: bool) -> bool:
    if sign_rate is None or sign_rate <= WINS:
        return False
    if odds:
        return loss is not None and loss < LOSES
    return gradient is not None and gradient < VANISHED


def _starved(s: Signals) -> bool:
    """Whether the generator can't follow: its loss is saturated, or its learning rate far below the other's."""
    if s.rate_ratio is not None and s.rate_ratio > FASTER:
        return True
    if s.generator_gradient is None or s.generator_loss is None:
        return False
    return s.generator_gradient < VANISHED and abs(s.generator_loss) < FLAT


def _unripe(s: Signals) -> str:
    if s.precision is not None and s.precision < ALIEN:
        return f"after {s.steps:,} steps only {s.precision:.0%} of the samples lie among the data"
    if _collapse(s) and _rises(s):
        return f"coverage has risen by {100 * (s.gained or 0):.0f} points since the oldest checkpoint that is kept"
    return ""


def _rises(s: Signals) -> bool:
    return s.gained is not None and s.gained > RISING


def _doubtful(s: Signals, verdict: Verdict) -> bool:
    """Whether something speaks against the likeliest ailment, or what would rule out another was not seen."""
    if verdict == "mode collapse":
        return _rises(s)
    if verdict != "discriminator overpowering":
        return False
    harmless = s.precision is not None and s.precision >= ALIEN and not _collapse(s)
    return harmless or (s.memory is None and s.epochs > MANY_PASSES)


def _is_well(s: Signals) -> bool:
    """Whether enough was seen. That nothing of it is amiss is known already."""
    return None not in (s.loss, s.diversity, s.precision, s.coverage, s.copying)


def _missing(s: Signals) -> Iterator[str]:
    if s.precision is None:
        yield "the samples could not be held against the data"
    if s.memory is None and s.sign_rate is not None:
        yield f"whether the discriminator learns by heart is unknown {s.mute or 'without unseen pictures (--held-out)'}"
    if s.memory is None and s.epochs > MANY_PASSES and _wins(s):
        yield f"after {s.epochs:,.0f} passes over the data, over-fitting may be why the discriminator wins"


# --- the log ----------------------------------------------------------------------------------------------------------


def from_log(lines: Sequence[Mapping[str, Any]], planned: int, state: str, *, odds: bool = True) -> Signals:
    """What the log alone tells.

    lines    of log.jsonl
    planned  steps of the whole run; 0 where nobody knows
    state    "finished", "stopped" or "running"
    odds     whether the discriminator's loss is a cross-entropy
    """
    from limner.training.guard import RELOADS

    trained = [line for line in lines if line["event"] == "train"]
    guard = [line.get("action") for line in lines if line["event"] == "guard"]
    last = trained[-math.ceil(len(trained) / 4) :]
    loss, most = _loss(trained, last)
    count = next((line["data"]["count"] for line in lines if line["event"] == "start"), 0)
    steps = max((line.get("step", 0) for line in lines), default=0)
    reloads = guard.count("reload")
    late = [line for line in lines if line.get("action") == "reload" and line["step"] > 0.75 * steps]
    return Signals(
        state=state,
        steps=steps,
        planned=planned or steps,
        epochs=trained[-1]["seen"] / count if trained and count else 0.0,
        reloads=reloads,
        late_reloads=len(late),
        gave_up="stop" in guard or (reloads >= RELOADS and state == "stopped"),
        loss=loss,
        most=most,
        sign_rate=_mean(last, "sign_rate"),
        discriminator_loss=_mean(last, "discriminator_loss"),
        odds=odds,
        generator_loss=_mean(last, "generator_loss"),
        generator_gradient=_mean(last, "generator_gradient"),
        won_at=_won_at(trained, odds),
        alike_at=_alike_at([line for line in lines if line["event"] == "diversity"]),
        diversity=next((line["ratio"] for line in reversed(lines) if line["event"] == "diversity"), None),
    )


def _mean(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if name in line]
    return sum(values) / len(values) if values else None


def _loss(trained: Sequence[Mapping[str, Any]], last: Sequence[Mapping[str, Any]]) -> tuple[float | None, float]:
    """The loss over the last quarter, and what it stays below in a run that works.

    In a game that is a number. Without one, loss falls from where it begins, whatever its size and sign: it has
    diverged where it is well above the first eighth of the run.
    """
    if any("discriminator_loss" in line for line in last):
        losses = [abs(value) for line in last for name, value in line.items() if name.endswith("_loss")]
        return max(losses), EXPLODED
    name = next((name for line in last for name in line if name.endswith("_loss")), "")
    began = _mean(trained[: math.ceil(len(trained) / 8)], name)
    return _mean(last, name), EXPLODED if began is None else began + max(abs(began), 1.0)


def _won_at(trained: Sequence[Mapping[str, Any]], odds: bool) -> int | None:
    """The step from which on the discriminator overpowers, in means over windows of an eighth of the run."""
    window = max(1, len(trained) // 8)
    since = None
    for start in range(0, len(trained), window):
        some = trained[start : start + window]
        rate, loss = _mean(some, "sign_rate"), _mean(some, "discriminator_loss")
        wins = _dominates(rate, loss, _mean(some, "generator_gradient"), odds)
        since = (some[0]["step"] if since is None else since) if wins else None
    return since


def _alike_at(watched: Sequence[Mapping[str, Any]]) -> int | None:
    """The step at which diversity was lost for good, having been there."""
    varied = [line["step"] for line in watched if line["ratio"] >= COLLAPSED]
    after = [line["step"] for line in watched if varied and line["step"] > varied[-1]]
    return after[0] if after else None


# --- the run ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    folder: Path
    method: str
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    lines: list[dict[str, Any]]
    state: str

    @property
    def planned(self) -> int:
        """Steps of the whole run; 0 where the log does not tell."""
        if self.settings.get("steps"):
            return int(self.settings["steps"])
        chosen = catalog.settings(self.method).read(self.config)
        start = next((line for line in self.lines if line["event"] == "start"), None)
        if start is None:
            return 0
        return int(start.get("steps") or -(-int(chosen.epochs * start["data"]["count"]) // chosen.batch))


def _opened(folder: Path) -> _Run:
    from limner.operations.train import is_locked, stored_run
    from limner.training.log import read_log

    if folder.is_file():
        home = next((place for place in folder.parents if (place / "settings.json").is_file()), None)
        hint = command("doctor", home) if home else "give the folder that training wrote to"
        raise UsageError(f"{folder} is a file, not a run folder", hint)
    method, request, config = stored_run(folder)
    lines = [line for line in read_log(folder / "log.jsonl") if isinstance(line, dict) and "event" in line]
    if not lines:
        raise UsageError(f"{folder} has no log of any training yet", command("train", "--resume", folder))
    finished = (folder / "model.safetensors").is_file()
    state = "running" if is_locked(folder) else "finished" if finished else "stopped"
    return _Run(folder, method, request.model_dump(), config, lines, state)


@dataclass(frozen=True)
class _Weights:
    """Networks in evaluation mode, the averaged ones in place.

    data     the manifest of what they learned from, as plain values
    step     that they are of
    broken   steps that were skipped on the way
    aside    samples that the run set aside
    earlier  the same run's networks as earlier checkpoints have them, the newest first
    """

    method: Generate
    data: Mapping[str, Any]
    step: int
    broken: int
    aside: int
    earlier: tuple[Generate, ...] = ()


def _newest_weights(run: _Run) -> tuple[_Weights | None, list[str]]:
    """From the newest whole checkpoints, else from the model; and a sentence for each file that is damaged."""
    from limner.core.tensorfile import read_tensors
    from limner.models.model import load
    from limner.training.checkpoint import KIND, Checkpoint, newest_first

    found: list[Checkpoint] = []
    problems: list[str] = []
    for path in newest_first(run.folder / "checkpoints"):
        try:
            found.append(Checkpoint(path, *read_tensors(path, KIND)))
        except ModelError as error:
            problems.append(error.message)
        if len(found) == _LOOKS:
            break
    if found:
        newest, *earlier = (_built(run, checkpoint) for checkpoint in found)
        header = found[0].header
        skipped = header["guard"]["skipped"]
        aside = header.get("set_aside", 0)
        return _Weights(newest, header["data"], header["step"], skipped, aside, tuple(earlier)), problems
    path = run.folder / "model.safetensors"
    try:
        model = load(path) if path.is_file() else None
    except ModelError as error:
        return None, [*problems, error.message]
    if model is None:
        return None, problems
    trained = model.header["training"]
    made = _generating(model.method, run)
    steps, skipped, aside = trained["steps"], trained["skipped_steps"], trained.get("set_aside", 0)
    return _Weights(made, model.header["data"], steps, skipped, aside), problems


def _built(run: _Run, found: Checkpoint) -> Generate:
    from limner.training.snapshot import snapshot

    return _generating(snapshot(found, run.method, run.config, run.settings["transition"]), run)


def _generating(method: Any, run: _Run) -> Generate:
    from limner.tasks.generate import Generate

    if not isinstance(method, Generate):
        raise UsageError(
            f"{run.folder} is a run of {run.method}, which does not make things out of noise",
            "limner doctor looks at runs of methods that generate",
        )
    return method.eval()


# --- the samples ------------------------------------------------------------------------------------------------------


def _examined(request: Doctor, run: _Run, weights: _Weights, signals: Signals) -> Generator[Event, None, Signals]:
    """What samples tell, held against the data; the log's signals alone where the data are not there any more."""
    import torch

    from limner.data.sources import open_data
    from limner.features.captions import embedded
    from limner.tasks.generate import Captioned
    from limner.training.world import pick_device

    if request.threads:
        torch.set_num_threads(request.threads)
    signals = replace(signals, broken=weights.broken)
    chosen = run.settings
    channels = {"auto": None, "grey": 1, "colour": 3}[chosen["colour"]]
    try:
        data = yield from open_data(chosen["data"], size=chosen["size"], channels=channels, fit=chosen["fit"])
    except LimnerError as error:
        yield Warned(f"the run's data cannot be opened: {error.message}")
        return signals
    if data.manifest.sha256 != weights.data["sha256"]:
        yield Warned(f"{chosen['data']} has changed since the run: the samples cannot be held against it")
        return signals
    data = data.shard(chosen["shard"])
    if len(data) < 2 * _FEW:
        yield Warned(f"{len(data)} samples of data are too few to hold made ones against; {2 * _FEW} are needed")
        return signals
    device = pick_device(request.device)
    looks = tuple(method.to(device) for method in (weights.method, *weights.earlier))
    seen = yield from _unseen(request, run, data)
    if weights.aside:
        data, aside = data.aside(chosen["seed"])
        seen = aside if seen is None else seen
    if isinstance(weights.method, Captioned):
        data = yield from embedded(data)
        seen = (yield from embedded(seen)) if seen is not None and seen.captions else seen
    return _compared(request, run, replace(signals, diversity=None), data, seen, looks)


def _unseen(request: Doctor, run: _Run, data: Dataset) -> Generator[Event, None, Dataset | None]:
    """Real data that the run did not learn from, if there are any."""
    from limner.data.builtin import BUILT_IN
    from limner.data.sources import open_data

    signal = data.signal
    shape: dict[str, Any] = {}
    if signal.rank == 2 and signal.size[0] == signal.size[1]:
        shape = {"size": signal.size[0], "channels": signal.channels, "fit": run.settings["fit"]}
    source = request.held_out or str(run.settings["data"])
    # A folder may have no test part, and points take no size: then all of it, as it is.
    attempts: list[dict[str, Any]] = [{**shape, "split": "test"}, shape, {}]
    for attempt in attempts:
        try:
            held_out = yield from open_data(source, **attempt)
            break
        except LimnerError:
            if request.held_out is None:
                return None
            if attempt is attempts[-1]:
                raise
    if held_out.manifest.sha256 == data.manifest.sha256:
        raise UsageError(f"the run learned from {source}, so it is not held out", "give real data that it never saw")
    if held_out.signal.shape != signal.shape:
        raise UsageError(
            f"{source} holds {held_out.signal.describe()}, and the run learned {signal.describe()}",
            "give data of the same kind",
        )
    if request.held_out in BUILT_IN and held_out.manifest.name != data.manifest.name:
        yield Warned(f"{source} is not what the run learned: a discriminator may tell other data from its own "
                     "without knowing any by heart")  # fmt: skip
    return held_out


def _compared(
    request: Doctor, run: _Run, signals: Signals, data: Dataset, unseen: Dataset | None, looks: tuple[Generate, ...]
) -> Signals:
    import numpy as np
    import torch

    from limner.core.random import permutation
    from limner.metrics.diversity import diversity_ratio, thumbnails
    from limner.metrics.neighbours import nearest as neighbours
    from limner.metrics.prdc import prdc
    from limner.tasks.generate import Captioned
    from limner.training.processor import for_heavy_work

    for_heavy_work()
    order = permutation(request.seed, len(data), "doctor", "real")[:_TRAINING]
    count = min(request.samples, len(data) // 2)
    # Samples of the classes, or captions, that the real ones beside them have, as often as these.
    beside = order[np.arange(request.samples) % len(order)]
    asked = looks[0].told(data.take(beside)) if looks[0].conditional else None
    fake = _like_the_data(request, run, looks[0], asked)
    real, small = data.take(order[: 2 * count])["x"], thumbnails(fake)
    training = torch.cat([thumbnails(data.take(order[i : i + 1000])["x"]) for i in range(0, len(order), 1000)])
    half, other = training[:count], training[count : 2 * count]
    near = prdc(half, small[:count])
    natural = prdc(half, other)
    which = neighbours(small, training)[1][:, 0]
    before = None
    if len(looks) > 1:
        before = prdc(half, thumbnails(_like_the_data(request, run, looks[-1], asked))[:count]).coverage.value
    signals = replace(
        signals,
        diversity=diversity_ratio(fake[:count], real[:count]),
        precision=near.precision.value,
        coverage=near.coverage.value,
        real_precision=natural.precision.value,
        real_coverage=natural.coverage.value,
        copying=_copying(small, training, request.seed),
        gained=None if before is None else near.coverage.value - before,
        **_modes(data, fake, order, which),
    )
    if unseen is None:
        return signals
    if run.settings["measure"] and not run.settings["measured"]:
        return replace(signals, mute="as it knows measured pictures only")
    captioned = isinstance(looks[-1], Captioned)
    if looks[-1].conditional and not captioned and unseen.manifest.classes != data.manifest.classes:
        return replace(signals, mute="as unseen pictures of its own classes are needed")
    if captioned and unseen.text is None:
        return replace(signals, mute="as unseen pictures with captions are needed")
    others = permutation(request.seed, len(unseen), "doctor", "unseen")[: request.samples]
    known, new = data.take(order[: request.samples]), unseen.take(others)
    scores = [(method.scored(known), method.scored(new)) for method in looks]
    told = [(a, b) for a, b in scores if a is not None and b is not None]
    if not told:
        return replace(signals, mute="as it does not score single samples")
    return replace(signals, memory=_memory(told, request.seed))


def _like_the_data(request: Doctor, run: _Run, method: Generate, asked: Tensor | None) -> Tensor:
    """Samples as a run's data are: measured where these were measured beforehand, and within [-1, 1] as in a file.

    asked  (samples,)  the classes that are asked for, or their captions; None where there are none
    """
    import torch

    from limner.core.random import generator
    from limner.nn.measure import measurement

    made = method.drawn(request.samples, generator(request.seed, "doctor", "fake"), asked)
    if not run.settings["measured"]:
        return made
    form = measurement(run.settings["measure"], method.signal)
    u = torch.rand(len(made), form.draws, generator=generator(request.seed, "doctor", "measure"))
    return form.apply(made, u).clamp(-1, 1)


def _copying(samples: Tensor, training: Tensor, seed: int) -> Interval:
    """Chance that a sample hugs a training one more closely than a real one does. .5 is natural, more is copying.

    How close is measured by the neighbour's own distance to the others, so that a sample in a crowded spot is no copy.
    What is natural is seen from the training samples, each left out once.

    samples   (N, D)
    training  (M, D)
    """
    import torch

    from limner.metrics.neighbours import nearest as neighbours
    from limner.metrics.ranks import roc_auc

    tiny = torch.finfo(torch.float64).tiny
    distance, which = neighbours(samples, training)
    hugging = distance[:, 0] / neighbours(training[which[:, 0]], training, k=2)[0][:, 1].clamp_min(tiny)
    out = torch.arange(min(len(samples), len(training)))
    distance, which = neighbours(training[out], training, k=2)
    around, who = neighbours(training[which[:, 1]], training, k=3)
    own = torch.where(who[:, 1] == out, around[:, 2], around[:, 1])
    natural = distance[:, 1] / own.clamp_min(tiny)
    return roc_auc(natural, hugging, seed)


def _memory(scores: Sequence[tuple[Tensor, Tensor]], seed: int) -> Interval:
    """Chance that a training sample scores above an unseen one. .5 is natural.

    Ranks are averaged over several looks, since each look has whims of its own, and what is known by heart stays known.
    They do not tell at which level the scores lie, which is arbitrary.

    scores  for each look (N,) of training samples and (M,) of unseen ones
    """
    import torch

    from limner.metrics.ranks import roc_auc

    ranks = []
    for known, new in scores:
        both = torch.cat([known, new])
        line = both.sort().values
        ranks.append(torch.searchsorted(line, both) + torch.searchsorted(line, both, right=True))
    mean = torch.stack(ranks).double().mean(0)
    count = len(scores[0][0])
    return roc_auc(mean[:count], mean[count:], seed)


def _modes(data: Dataset, fake: Tensor, order: Any, which: Tensor) -> dict[str, Any]:
    """Which modes the samples lie in: counted in a known mixture, else the classes of the nearest training samples."""
    import torch

    from limner.data.builtin.mixtures import GRID, RING
    from limner.metrics import modes

    mixture = {"ring": RING, "grid": GRID}.get(data.manifest.name) if data.signal.rank == 0 else None
    if mixture is not None:
        there = len(mixture.centres)
        found = modes.mixture(fake * data.manifest.scale, torch.tensor(mixture.centres), mixture.std)
    elif data.labels is not None and 1 < len(data.manifest.classes) <= len(fake) // _OF_A_MODE:
        there = len(data.manifest.classes)
        labels = torch.from_numpy(data.labels[data.numbers(order)])
        found = modes.classes(labels[which], there, torch.bincount(labels, minlength=there))
    else:
        return {}
    return {"modes": math.exp(-found.reverse_kl), "modes_made": found.captured, "modes_there": there}


# --- words ------------------------------------------------------------------------------------------------------------

ADVICE: dict[Verdict, str] = {
    "healthy": "nothing to mend; how good the samples are is for limner evaluate to say",
    "mode collapse": "slow the generator down and let the optimisers forget faster (β1 .5), or try another seed",
    "discriminator overpowering": "slow the discriminator down, so that the generator can follow",
    "over-fitting/memorising": "more pictures help most; else augment what the discriminator sees, or stop earlier",
    "diverged": "lower both learning rates by 10, or look for what is odd in the data",
    "too little training": "train longer before judging",
    "unclear": "train longer, and give unseen pictures with --held-out, then ask again",
}
"""What to do about each verdict."""


def _told(folder: Path, s: Signals, found: Diagnosis) -> Iterator[str]:
    mixed = "" if found.sure else " (the evidence is mixed)"
    yield f"{folder}, {s.state} at step {s.steps:,} of {s.planned:,}: {found.verdict}{mixed if found.reasons else ''}"
    for verdict, reason in found.reasons.items():
        yield f"  {reason}" if len(found.reasons) == 1 else f"  {verdict}: {reason}"
    yield from (f"  not known: {sentence}" for sentence in found.missing)
    yield f"  what helps: {ADVICE[found.verdict]}"


def _rows(s: Signals) -> Iterator[tuple[str, str, str, str]]:
    """(signal, value, what healthy looks like, "off" where it is not), of all that was measured."""
    faults = f"{s.broken} steps skipped, went back {times(s.reloads)}"
    yield _row("steps", f"{s.steps:,}, {s.epochs:,.1f} passes over the data", f"{FEWEST:,} or more", s.steps >= FEWEST)
    yield _row("losses that are not finite", faults, "none", not (s.broken or s.reloads))
    if s.loss is not None:
        yield _row("loss", f"{s.loss:.3g}", f"below {s.most:,.4g}", s.loss <= s.most)
    if s.sign_rate is not None:
        healthy, good = (f"below {WINS:.0%}", s.sign_rate <= WINS) if s.odds else ("any", not _wins(s))
        yield _row("pairs the discriminator ranks rightly", f"{s.sign_rate:.1%}", healthy, good)
    if s.discriminator_loss is not None and s.odds:
        value, good = f"{s.discriminator_loss:.3g}", s.discriminator_loss >= LOSES
        yield _row("loss of the discriminator", value, f"above {LOSES:g}", good)
    if s.generator_gradient is not None:
        yield _row(
            "gradient of the generator", f"{s.generator_gradient:.3g}", "not 0", s.generator_gradient >= VANISHED
        )
    if s.rate_ratio is not None:
        value = f"{s.rate_ratio:.3g} times the generator's"
        yield _row("learning rate of the discriminator", value, f"below {FASTER:g} times", s.rate_ratio <= FASTER)
    if s.diversity is not None:
        yield _row("diversity", f"{s.diversity:.2f}", f"above {COLLAPSED:g}; real 1.00", s.diversity >= COLLAPSED)
    if s.modes is not None and s.modes_there is not None:
        worth = f", worth {s.modes * s.modes_there:.1f} even ones" if s.modes_made else ""
        value = f"{s.modes_made} of {s.modes_there}{worth}"
        yield _row("modes or classes", value, f"worth {FEW_MODES * s.modes_there:.1f} or more", s.modes >= FEW_MODES)
    if s.precision is not None and s.coverage is not None:
        healthy = f"above {ALIEN:.0%}; real {s.real_precision:.0%}"
        yield _row("samples among the data (precision)", f"{s.precision:.0%}", healthy, s.precision >= ALIEN)
        least = NARROW * max(s.precision, ALIEN)
        healthy = f"above {least:.0%}; real {s.real_coverage:.0%}"
        yield _row("data that samples reach (coverage)", f"{s.coverage:.0%}", healthy, s.coverage >= least)
    if s.gained is not None:
        value, healthy = f"{100 * s.gained:+.0f} points", f"{100 * FALLING:.0f} or more"
        yield _row("coverage gained since the oldest checkpoint", value, healthy, s.gained >= FALLING)
    if s.copying is not None:
        good = s.copying.low <= COPIES
        yield _row("samples that hug training data", _share(s.copying), "50% or less", good)
    if s.memory is not None:
        good = s.memory.low <= BY_HEART
        yield _row("training data scored above unseen data", _share(s.memory), "about 50%", good)


def _row(name: str, value: str, healthy: str, good: bool) -> tuple[str, str, str, str]:
    return name, value, healthy, "" if good else "off"


def _share(figure: Interval) -> str:
    return f"{figure.value:.0%} ({figure.low:.0%} to {figure.high:.0%})"


def _next(folder: Path, run: _Run, s: Signals, found: Diagnosis) -> Iterator[str]:
    """Commands that are worth trying, the best first."""
    again, onwards = command("train", "--config", folder), command("train", "--resume", folder)
    more = f"{onwards} --steps {max(5 * FEWEST, 2 * s.steps)}"
    longer = onwards if s.state == "stopped" and s.planned >= FEWEST else more
    players = _players(run)
    if s.state == "running":
        yield command("doctor", folder)
        return
    match found.verdict:
        case "healthy":
            model = folder / "model.safetensors"
            yield command("evaluate", model, "--data", run.settings["data"]) if s.state == "finished" else onwards
            if s.state == "finished" and _rises(s):
                yield more
        case "mode collapse":
            if _rises(s):
                yield longer
            calmer = {f"{name}.beta1": 0.5 for name, adam in players.items() if adam.beta1 > 0.5}
            slower = {"generator.lr": players["generator"].lr / 2} if "generator" in players else {}
            yield f"{again} {_flags({**slower, **calmer})}".rstrip()
            yield f"{again} --seed {run.settings['seed'] + 1}"
        case "discriminator overpowering":
            if run.config.get("loss") == "minimax":
                yield f"{again} --loss non_saturating"
            if {"generator", "discriminator"} <= players.keys():
                rate = min(players["discriminator"].lr / 4, players["generator"].lr)
                yield f"{again} {_flags({'discriminator.lr': rate})}"
            if s.memory is None and not s.mute:
                yield command("doctor", folder, "--held-out", "FOLDER")
        case "over-fitting/memorising":
            yield command("prepare", "MORE_PICTURES", "--out", f"{folder.name}-data")
            pictures = any(line["data"]["size"] for line in run.lines if line["event"] == "start")
            if "discriminator" in players and pictures and run.settings["augment"] == "none":
                yield f"{again} --augment diffaugment"
            yield f"{again} --steps {max(FEWEST, s.steps // 4)}"
        case "diverged":
            yield f"{again} {_flags({f'{name}.lr': adam.lr / 10 for name, adam in players.items()})}"
        case "too little training":
            yield longer
        case "unclear":
            yield longer
            if s.memory is None and not s.mute:
                yield command("doctor", folder, "--held-out", "FOLDER")


def _players(run: _Run) -> dict[str, Adam]:
    """How each player moved, with what the data decided filled in."""
    from limner.core.config import Adam
    from limner.data.dataset import Manifest

    chosen = catalog.settings(run.method).read(run.config)
    data = next((line["data"] for line in run.lines if line["event"] == "start"), None)
    settled = chosen if data is None else chosen.settle(Manifest.read(data).signal)
    return {name: value for name, value in settled if isinstance(value, Adam)}


def _rate_ratio(run: _Run) -> float | None:
    players = _players(run)
    if not {"discriminator", "generator"} <= players.keys():
        return None
    return players["discriminator"].lr / players["generator"].lr


def _flags(values: Mapping[str, float]) -> str:
    return " ".join(f"--{name} {value:.3g}" for name, value in values.items())
