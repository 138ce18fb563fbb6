"""Train: learn a method from data, in a run folder that explains itself."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from limner.core import __version__, catalog
from limner.core.config import Adam, TrainingConfig, merged
from limner.core.errors import LimnerError, ModelError, UsageError, command, missing_extra, nearest
from limner.core.events import Epoch, Event, Finished, Note, Progress, Saved, Table, Warned
from limner.core.files import refuse_existing, unwritable, write
from limner.core.settings import Settings
from limner.reports.words import flat, times

if TYPE_CHECKING:
    from limner.data.dataset import Dataset
    from limner.tasks.generate import Generate
    from limner.training.checkpoint import Checkpoint
    from limner.training.cost import Need
    from limner.training.loop import Loop
    from limner.training.world import World
    from limner.training.wrap import Wrap


class Train(Settings):
    """How a run goes, whatever the method."""

    data: str = "mnist"
    """What to learn from: a built-in set (limner list names them), a folder, a zip or tar, or a prepared pack."""
    size: int | None = Field(default=None, ge=1, le=4096)
    """Side of the pictures in px; their own where it is not given."""
    colour: Literal["auto", "grey", "colour"] = "auto"
    """Channels of the pictures; auto takes colour if any of them has it."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How pictures of another shape are brought to the size."""
    shard: str = ""
    """Learn from one of several parts of the data alone: 2/4 is the second of four. For members of an ensemble."""
    augment: Literal["none", "diffaugment", "ada"] = "none"
    """Changes to what the discriminator sees, so that it can't learn a small set by heart; ada finds how many."""
    lecam: float = Field(default=0, ge=0)
    """Weight of the LeCam penalty on the discriminator's scores, for small sets; 0 for none."""
    measure: str = ""
    """Learn clean pictures from measured ones: block-pixels:P, keep-patch:PX, conv-noise:PX,STD, pad-rotate-project."""
    measured: bool = False
    """With --measure: the data are measured already, so only what is made is measured."""
    init: Path | None = None
    """Begin from a saved model of the same method (a file or a run), to fine-tune it on these data."""
    freeze: int = Field(default=0, ge=0)
    """With --init: how many of the discriminator's layers, from the picture on, stay as they are."""
    transition: tuple[float, float] | None = None
    """For methods that learn classes: thousands of pictures seen (kimg) between which classes come in, e.g. 20,40;
    before, none are known."""
    steps: int | None = Field(default=None, ge=1)
    """Steps of training; instead of --epochs."""
    seed: int = Field(default=42, ge=0)
    """Names every stream of randomness: the same seed on the same machine gives the same weights."""
    out: Path | None = None
    """The run folder; runs/METHOD-NNN where it is not given."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the fastest there is."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What networks compute in; auto takes bf16 where the hardware has it."""
    threads: int | None = Field(default=None, ge=1)
    """Processor threads; all cores where it is not given. Another number gives slightly other results."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a batch is walked in, to save memory."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Steps between checkpoints."""
    keep: int = Field(default=3, ge=1)
    """How many checkpoints stay; the newest healthy one and the best stay as well."""
    preview_every: float | None = Field(default=None, gt=0)
    """Epochs between preview grids; a fifth of the run where it is not given."""
    evaluate_every: float = Field(default=0, ge=0)
    """Epochs between evaluations, for the log, the plot and the best model; 0 for none."""
    deterministic: bool = False
    """Use only operations that give the same bits each time, on a GPU too."""
    tensorboard: bool = False
    """Write the log for TensorBoard as well."""
    force: bool = False
    """Replace a run that stands in --out."""
    resume: Path | None = None
    """Go on with an interrupted run: its folder."""
    dry_run: bool = False
    """Say what the run would take, in time and memory, and stop: a few steps are timed, and nothing is written."""


_NOT_OF_THE_RUN = {"resume", "force", "out", "dry_run"}
_SHAPES_BITS = {"cores": "threads", "precision": "precision", "torch": "torch", "processes": "processes"}
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_OURS = ("settings.json", "log.jsonl", "losses.png", "model.safetensors")
_OUR_FOLDERS = {"grids": r"(epoch|step)-\d+\.png", "checkpoints": r"(step-\d{8}|best)\.safetensors",
                "tensorboard": r"events\.out\.tfevents\..*"}  # fmt: skip


def train(
    method: str | None = None, request: Train | None = None, config: Mapping[str, Any] | None = None
) -> Iterator[Event]:
    """Train a method, telling events; the last one is Finished, with the model's path.

    method   its name; not needed to resume
    request  how the run goes
    config   the method's settings, plain values by name
    raises   UsageError, DataError, LimnerError, Interrupted, Diverged
    """
    request, config = request or Train(), config or {}
    named = {*flat({**request.model_dump(exclude_unset=True, exclude=_NOT_OF_THE_RUN), **config})}
    named |= {"steps"} if "epochs" in named else set()
    if request.resume is not None:
        if request.out is not None and request.out.resolve() != request.resume.resolve():
            raise UsageError(f"a run goes on in its own folder, {request.resume}", "leave out --out")
        method, request, config = _resumed(request.resume, method, request, config)
    elif method is None:
        raise UsageError("train needs a method", nearest("", catalog.names()))
    chosen = catalog.head(method).Config.read(config)
    _refuse_idle(chosen, None if request.resume is None else named)
    if "batch" in config:  # Else a variant may bring its own, which is known with the data.
        _refuse_uneven(chosen.batch, request.accumulate, int(os.environ.get("WORLD_SIZE", "1")))
    if "WORLD_SIZE" in os.environ and request.out is None and request.resume is None:
        raise UsageError("several processes need to know the run folder", "give --out")
    if request.out is not None and request.resume is None:
        refuse_existing(request.out, request.force)
    from limner.data.sources import refuse_unknown

    # Known before torch is loaded, which takes seconds.
    try:
        refuse_unknown(request.data)
    except LimnerError:
        if request.resume is None or "data" in named:
            raise
        raise UsageError(
            f"{request.resume} learned from {request.data}, which is not to be found from here",
            "resume it where it began, or say with --data where its pictures are now",
        ) from None
    yield from _train(method, request, config, named)


def read_config(path: Path) -> dict[str, Any]:
    """Settings from a TOML file, or the settings.json of an earlier run (its folder will do).

    raises UsageError   if it is neither
    """
    path = path / "settings.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {(error.strerror or '').lower()}",
                         "check the path") from None  # fmt: skip
    except ValueError as error:
        raise UsageError(f"the settings file {path} is not valid: {error}", "TOML, or a run's settings.json") from None
    if not isinstance(values, dict):
        raise UsageError(f"the settings file {path} holds no settings", "TOML, or a run's settings.json")
    return values


def split_choices(method: str, choices: Mapping[str, Any], where: str = "") -> tuple[Train, dict[str, Any]]:
    """Part mixed settings into those of the run and those of the method.

    raises UsageError   for a setting that neither has, with the nearest name
    """
    own = catalog.head(method).Config.model_fields
    for name in choices:
        if name not in own and name not in Train.model_fields:
            raise UsageError(
                f"unknown setting '{name}'" + (f" in {where}" if where else ""),
                nearest(name, [*own, *Train.model_fields]),
            )
    run = {name: value for name, value in choices.items() if name in Train.model_fields}
    return Train.read(run, where), {name: value for name, value in choices.items() if name in own}


def method_of(file: Path | None, resume: Path | None) -> str | None:
    """The method that a settings file names, or else the run that is gone on with; None where neither is there."""
    named = read_config(file).get("method") if file else None
    return named or (read_config(resume).get("method") if resume and (resume / "settings.json").is_file() else None)


def asked(method: str | None, values: Mapping[str, Any], file: Path | None) -> tuple[str | None, Train, dict[str, Any]]:
    """What a person asks for: values by name, which win over those of a settings file.

    method   its name; None where the file or the run that is gone on with names it
    raises   UsageError   for what no setting is called, or a value that does not fit
    """
    method = method or method_of(file, Path(values["resume"]) if values.get("resume") else None)
    if method is None:
        return None, Train.read({name: value for name, value in values.items() if name in Train.model_fields}), {}
    kind = catalog.head(method).Config
    stored = {name: value for name, value in (read_config(file) if file else {}).items() if name != "method"}
    before, below = split_choices(method, stored, str(file))
    kind.read(below, str(file))
    now, own = split_choices(method, values)
    config = kind.read(merged(below, own)).model_dump(mode="json", exclude_unset=True)
    return method, Train.read(_over(before, now.model_dump(exclude_unset=True), own)), config


def _over(before: Train, now: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run, with those that are given now laid over.

    own   the method's that are given now; `epochs` among them do away with the steps of before, which would win
    """
    kept = before.model_dump(exclude_unset=True)
    if "epochs" in own:
        kept.pop("steps", None)
    return {**kept, **now}


# --- resuming ---------------------------------------------------------------------------------------------------------


def stored_run(folder: Path) -> tuple[str, Train, dict[str, Any]]:
    """What a run's folder says that it is: the method, and the settings of the run and of the method.

    raises UsageError   if it is not there, or holds no run
    """
    hint = "give the folder that training wrote to"
    if not folder.exists():
        there = [entry.name for entry in folder.parent.iterdir()] if folder.parent.is_dir() else []
        close = nearest(folder.name, there, folder.parent)
        raise UsageError(f"there is no run {folder}", close if close.startswith("did you") else hint)
    if not (folder / "settings.json").is_file():
        raise UsageError(f"{folder} is not a run: it has no settings.json", hint)
    stored = read_config(folder)
    name = stored.pop("method", None)
    if not isinstance(name, str):
        raise UsageError(f"{folder / 'settings.json'} names no method", hint)
    return name, *split_choices(name, stored, str(folder / "settings.json"))


def is_locked(folder: Path) -> bool:
    """Whether a process is writing to the run."""
    from filelock import FileLock, Timeout

    if not (folder / ".lock").is_file():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # somebody else's folder, that may be read only
        return False


def _resumed(
    folder: Path, method: str | None, request: Train, config: Mapping[str, Any]
) -> tuple[str, Train, dict[str, Any]]:
    """The settings of an interrupted run, with those that the person names now laid over."""
    name, before, own = stored_run(folder)
    if method not in (None, name):
        raise UsageError(f"{folder} is a run of {name}, not of {method}", command("train", "--resume", folder))
    given = request.model_dump(exclude_unset=True, exclude=_NOT_OF_THE_RUN)
    of_now = {"out": folder, "resume": folder, "dry_run": request.dry_run}
    whole = Train.read({**_over(before, given, config), **of_now})
    return name, whole, catalog.head(name).Config.read(config).varied(own).model_dump(exclude_unset=True)


def _compared(found: Checkpoint, loop: Loop, named: Collection[str]) -> Iterator[Event]:
    """Tell how this run differs from the one that wrote the checkpoint.

    named   the settings that a person asked for now, by dotted name
    raises  UsageError   if anything differs that shapes the result and that nobody named, or the run has gone further
    """
    facts = loop.facts
    was, now = (flat(each.get("settings", {})) for each in (found.header, facts))
    changes = {key: f"{key}: {was[key]} → {now[key]}" for key in was.keys() & now.keys() if was[key] != now[key]}
    if drift := sorted(changes.keys() - named):
        raise UsageError(
            f"{found.path.parents[1] / 'settings.json'} is not what the run was trained with "
            f"({'; '.join(changes[key] for key in drift)})",
            "undo that, or name on the command line what shall change",
        )
    yield from (Note(f"changed on resume: {changes[key]}") for key in sorted(changes))
    before, after = found.header["data"], facts["data"]
    # Which way the data came is not compared, as their checksum is; nor is what an older limner did not tell.
    differs = [f"{key}: was {before[key]}, is {value}" for key, value in after.items()
               if key not in ("source", "decoder") and before.get(key, value) != value]  # fmt: skip
    if differs and "data" not in named:
        raise UsageError(
            f"the data are not those that the run began with ({'; '.join(differs)})",
            "bring the old data back, or start a new run",
        )
    before, after = found.header["machine"], facts["machine"]
    other = [f"{word} {before[key]} → {after[key]}" for key, word in _SHAPES_BITS.items()
             if before.get(key, after[key]) != after[key]]  # fmt: skip
    if other:
        yield Warned(f"the results will differ in their last digits from those of one go ({', '.join(other)})")
    gone, wanted = found.header["step"], loop.plan.steps
    if gone > wanted:
        raise UsageError(
            f"{loop.folder} has gone {gone:,} steps already, more than the {wanted:,} asked for",
            f"give --steps {gone} or more",
        )


@contextmanager
def _as_built(loop: Loop, found: Checkpoint) -> Iterator[None]:
    """While the checkpoint is loaded into the run's networks.

    raises UsageError   if others are asked for now than the run has
    """
    from limner.training.finetune import difference

    try:
        yield
    except ModelError:
        alike = difference(found.header.get("settings", {}), loop.learner.method)
        if not alike:
            raise
        raise UsageError(f"the networks of {loop.folder} do not fit what is asked for now", alike) from None


def _refuse_idle(chosen: TrainingConfig, named: Collection[str] | None) -> None:
    """See that no end of a schedule is chosen for a rate that never changes.

    named   the settings that are asked for now, by dotted name; None for all
    raises  UsageError   if one is
    """
    for player, adam in chosen:
        if not isinstance(adam, Adam) or adam.schedule != "constant":
            continue
        usual = type(chosen).model_fields[player].default
        for name in ("final", "until", "beta2_final"):
            asked = named is None or f"{player}.{name}" in named
            if asked and getattr(adam, name) not in (None, getattr(usual, name)):
                flag, schedule = (f"--{player}.{word}".replace("_", "-") for word in (name, "schedule"))
                raise UsageError(
                    f"{flag} belongs to a rate that changes, and {schedule} is constant",
                    f"add {schedule} cosine, or leave out {flag}",
                )


def _refuse_uneven(batch: int, parts: int, processes: int) -> None:
    """See that a batch can be shared out evenly.

    parts   that each process walks its share in
    raises  UsageError   if it cannot
    """
    if batch % (parts * processes):
        raise UsageError(
            f"a batch of {batch} cannot be shared by {processes} processes in {parts} parts each",
            "give a --batch that the product divides",
        )


# --- a run ------------------------------------------------------------------------------------------------------------


def _train(method: str, request: Train, config: Mapping[str, Any], named: Collection[str]) -> Iterator[Event]:
    from limner import features
    from limner.data.cache import finish
    from limner.metrics.figures import suited
    from limner.training.processor import for_heavy_work, tiny_is_zero
    from limner.training.world import join

    for_heavy_work()
    opening = _opened(request, method)
    # Of several processes one tells what all do.
    dataset, unseen = (yield from opening) if os.environ.get("RANK", "0") == "0" else finish(opening)
    with join(request.device) as world, _left_as_found(world), tiny_is_zero(), ExitStack() as held:
        if request.evaluate_every and dataset.signal.rank and not request.dry_run:
            fetching = features.fetch(suited(dataset.manifest))
            yield from fetching if world.first else _silent(fetching)
        if request.dry_run:
            told = _dry_run(method, request, config, dataset, unseen, world, named)
            yield from told if world.first else _silent(told)
            return
        prepared = partial(_prepared, method, request, config, dataset, unseen, world)
        # Whatever a new run can be refused for is built before its folder is touched.
        begin = prepared(None) if request.resume is None else None
        folder = _run_folder(request, method) if world.first else request.out or Path()
        if world.first:
            held.enter_context(_alone(folder))
            if request.resume is None:
                # Asked again with the lock in hand: another run may have begun here meanwhile.
                refuse_existing(folder, request.force)
                _clear(folder)
            elif half := _half_written(folder):
                for path in half:
                    path.unlink()
                names = ", ".join(path.name for path in half)
                yield Note(f"took away what a killed process left half written: {names}")
        found = None
        if begin is None:
            looking = _newest(folder)
            found = (yield from looking) if world.first else finish(looking)
            begin = prepared(found)
        events = _in_folder(begin(folder), found, request, named)
        yield from events if world.first else _silent(events)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else writes to the run meanwhile.

    raises UsageError   if somebody does
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"another process is writing to {folder}", "wait for it, or give another --out") from None
    try:
        yield
    finally:
        lock.release()


def _newest(folder: Path) -> Generator[Event, None, Checkpoint | None]:
    """The checkpoint to go on from, where there is one."""
    from limner.training import checkpoint

    found, problems = checkpoint.load_newest(folder / "checkpoints")
    yield from (Warned(f"{problem}; using the checkpoint before it") for problem in problems)
    if found is None and problems:
        raise ModelError(f"none of the {len(problems)} checkpoints of {folder} is whole", "start a new run")
    if found is None:
        yield Note(f"{folder} has no checkpoint yet: starting from the beginning")
    return found


def _opened(request: Train, method: str) -> Generator[Event, None, tuple[Dataset, Dataset | None]]:
    """The data, and real samples that training does not see, to hold a discriminator against: where there are any, and
    in any case where augmentation adapts to them."""
    from limner.data.sources import open_data, open_parts
    from limner.features.captions import embedded
    from limner.tasks.generate import Captioned, Generate

    kind, adapts = catalog.method(method), request.augment == "ada"
    assert issubclass(kind, Generate)
    channels = {"auto": None, "grey": 1, "colour": 3}[request.colour]

    def read(found: Dataset) -> Generator[Event, None, Dataset]:
        return (yield from embedded(found)) if issubclass(kind, Captioned) and found.captions else found

    if adapts or (kind.scores() and not request.measure):
        dataset, unseen = yield from open_parts(request.data, size=request.size, channels=channels, fit=request.fit)
    else:
        dataset = yield from open_data(request.data, size=request.size, channels=channels, fit=request.fit)
        unseen = None
    dataset = (yield from read(dataset)).shard(request.shard)
    if unseen is not None:
        unseen = yield from read(unseen)
    elif adapts:
        dataset, unseen = dataset.aside(request.seed)
        yield Note(f"{len(unseen):,} samples are set aside, to see how far the discriminator over-fits")
    return dataset, unseen


@contextmanager
def _left_as_found(world: World) -> Iterator[None]:
    """What a run sets for the whole process is set back after it: threads, determinism, torch's own randomness."""
    import torch

    threads = torch.get_num_threads()
    sure, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_WORKSPACE)
    try:
        with torch.random.fork_rng([world.device] if world.device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(sure, warn_only=warns)
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


def _silent(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Warned):
            yield event


def _in_folder(loop: Loop, found: Checkpoint | None, request: Train, named: Collection[str]) -> Iterator[Event]:
    from limner.operations.sample import model_file
    from limner.training import cost
    from limner.training.finetune import renamed

    folder, world, learner = loop.folder, loop.learner.world, loop.learner
    if found is not None:
        notes = list(_compared(found, loop, named))
        with _as_built(loop, found):
            loop.resume(found, anew=any(name.endswith(".lr") for name in named))
        if loop.guard.reloads:
            back = f"× {loop.guard.rate_factor:g}, as training went back {times(loop.guard.reloads)}"
            notes.append(Note(f"learning rates are {back}; one that is named now (--generator.lr, say) is taken whole"))
        if notes and world.first:
            loop.save()  # with the new settings and machine, so that nothing need be said twice
        yield from notes
        yield Note(f"going on from step {loop.step:,} of {loop.plan.steps:,}")
    if world.first:
        write(folder / "settings.json", json.dumps(loop.facts["settings"], indent=2) + "\n")
    world.wait()
    weights = sum(p.numel() for p in learner.method.parameters())
    yield Note(
        f"{loop.facts['method']}: {weights:,} weights, {loop.plan.steps:,} steps of {loop.plan.batch} on "
        f"{world.device.type} ({loop.facts['machine']['precision']}); the run is in {folder}"
    )
    if found is None and request.init is not None:
        method, classes = cast("Generate", learner.method), loop.facts["data"]["classes"]
        if other := renamed(model_file(request.init), method, classes):
            yield Warned(other)
    if world.first:
        loop.log.add("start", step=loop.step, steps=loop.plan.steps, limner=__version__, **loop.facts)
    free = cost.room(world.device)
    if free is not None and (lack := _lack(loop, _need(loop), free)):
        yield Warned(": ".join(lack))
    with closing(loop.run()) as events:
        yield from _tensorboard(loop, events) if request.tensorboard and world.first else events
    if not world.first:
        return
    final = folder / "model.safetensors"
    _save_model(loop, final, {})
    yield Saved("model", final)
    yield Finished(
        "train",
        {
            "model": str(final), "run": str(folder), "steps": loop.step, "images": loop.seen,
            "seconds": round(loop.seconds, 1), "skipped_steps": loop.guard.skipped,
        },
        (
            command("sample", final, "--count", 64),
            command("evaluate", final, "--data", request.data),
            command("show", final),
        ),
    )  # fmt: skip


def _dry_run(
    method: str,
    request: Train,
    config: Mapping[str, Any],
    dataset: Dataset,
    unseen: Dataset | None,
    world: World,
    named: Collection[str],
) -> Iterator[Event]:
    """What the run would take: weights, time by a few real steps, memory by small ones.

    named   the settings that a person asked for now, by dotted name
    raises  UsageError   for what the run itself would be refused for
    """
    from limner.training import cost

    found = None if request.resume is None else (yield from _newest(request.resume))
    loop = _prepared(method, request, config, dataset, unseen, world, found)(request.resume or Path())
    learner, plan = loop.learner, loop.plan
    if found is not None:
        yield from _compared(found, loop, named)
        with _as_built(loop, found):
            learner.restore(found.tensors, found.path)
        loop.step = found.header["step"]
    before, free, wanted = cost.peak(world.device), cost.room(world.device), _need(loop)
    each = {name: sum(p.numel() for p in weights) for name, weights in learner.players.items()}
    weights = sum(p.numel() for p in learner.method.parameters())
    needed = wanted.bytes(plan.batch // world.size, plan.accumulate)
    lack = None if free is None else _lack(loop, wanted, free)
    values: dict[str, Any] = {
        "weights": weights, "steps": plan.steps, "step_mb": round(needed / 1e6), "fits": lack is None,
    }  # fmt: skip
    precision = str(learner.precision).removeprefix("torch.")
    among = ", ".join(f"{name} {count:,}" for name, count in each.items())
    rows = [
        ("data", dataset.manifest.describe()),
        ("weights", f"{among}; {weights:,} in all"),
        ("the run", f"{plan.steps:,} steps of {plan.reads:,}, {plan.steps * plan.reads / len(dataset):.3g} epochs"),
        ("computed", f"on {world.device.type} in {precision}, {_threads(world)}"),
    ]
    if lack is None:
        seconds = cost.pace(loop.try_step)
        values |= {"seconds_a_step": round(seconds, 4), "seconds": round(seconds * plan.steps)}
        values["peak_mb"] = round(cost.peak(world.device) / 1e6)
        rows += [
            ("a step", f"{1e3 * seconds:,.0f} ms, {plan.reads / seconds:,.0f} images/s (median of 3)"),
            ("all steps", f"about {_hours(seconds * plan.steps)}, without previews and evaluations"),
        ]
    else:
        yield Warned(": ".join(lack))
        values["peak_mb"] = round((before + needed) / 1e6)
    there = "" if free is None else f"; {free / 1e9:,.1f} GB were free"
    kind = "about" if lack else "measured:"
    rows += [
        ("memory", f"{kind} {values['peak_mb']:,} MB at the peak, {needed / 1e6:,.0f} MB of it for a step{there}"),
        ("files", f"about {weights * 16 * (plan.keep + 2) / 1e6:,.0f} MB of checkpoints"),
    ]
    yield Table(f"limner train {method}, were it begun", ("", ""), tuple(rows))
    yield Finished("dry run", values)


def _threads(world: World) -> str:
    import torch

    count = torch.get_num_threads()
    return f"{count} thread{'s' * (count != 1)}" + (f" in {world.size} processes each" if world.size > 1 else "")


def _hours(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"


def _need(loop: Loop) -> Need:
    """Memory of one of the loop's steps, in this process."""
    import numpy as np

    from limner.training import cost

    plan, data = loop.plan, loop.dataset
    share = plan.batch // loop.learner.world.size
    return cost.need(loop.learner, share, plan.batches, lambda count: data.take(np.arange(count) % len(data)))


def _lack(loop: Loop, wanted: Need, free: float) -> tuple[str, str] | None:
    """What is said where a step has no room."""
    from limner.training import cost
    from limner.training.joined import in_one

    plan, learner = loop.plan, loop.learner
    share, whole = plan.batch // learner.world.size, in_one(learner.method)
    return cost.advice(wanted, share, plan.accumulate, free, whole, begun=loop.step > 0)


def _prepared(
    method: str,
    request: Train,
    config: Mapping[str, Any],
    dataset: Dataset,
    unseen: Dataset | None,
    world: World,
    found: Checkpoint | None,
) -> Callable[[Path], Loop]:
    """Everything of a run but its folder, and the checks that need it; the loop begins once it is given one.

    unseen  real samples that training does not see, where there are some
    found   what the run goes on from
    """
    import numpy as np
    import torch

    from limner import features
    from limner.core.method import Luck
    from limner.core.random import generator, permutation, stream
    from limner.metrics.diversity import diversity_ratio, thumbnails
    from limner.metrics.figures import quick, suited
    from limner.metrics.prdc import NEIGHBOURS, coverage
    from limner.models.model import build
    from limner.models.pictures import Pictures
    from limner.reports.subject import draws
    from limner.tasks.generate import EXAMPLES, Captioned, Generate
    from limner.training.average import Average
    from limner.training.joined import refuse_parts
    from limner.training.learner import Learner
    from limner.training.loop import Loop, Plan, machine
    from limner.training.measured import Measured
    from limner.training.transition import Transition
    from limner.training.world import pick_precision

    if request.threads:
        torch.set_num_threads(request.threads)
    if request.deterministic:
        os.environ.setdefault(_WORKSPACE, ":4096:8")
        torch.use_deterministic_algorithms(True)
    if request.tensorboard and world.first:
        _writer()
    torch.manual_seed(stream(request.seed, "weights"))
    made = build(method, config, dataset.signal).to(world.device)
    assert isinstance(made, Generate)
    origin = _begun(request, made, method, found)
    if request.measure:
        origin |= {"measure": request.measure, "measured": request.measured}
    chosen = made.config
    assert isinstance(chosen, TrainingConfig)
    count = len(dataset)
    aside = len(unseen) if unseen is not None and unseen.rows is not None else 0
    origin |= ({"shard": request.shard} if request.shard else {}) | ({"set_aside": aside} if aside else {})
    reads = chosen.batch * made.batches
    if found:
        _same_part(request, aside, reads, found)
    if isinstance(made, Captioned):
        some_of_all = permutation(request.seed, count, "examples")[np.arange(EXAMPLES) % count]
        made.get_buffer("examples").copy_(dataset.take(some_of_all)["text"])
    if chosen.batch > count:
        raise UsageError(
            f"a batch of {chosen.batch:,} is larger than the data set of {count:,}", f"give --batch {count}"
        )
    if chosen.batch == 1 and any(isinstance(layer, torch.nn.BatchNorm1d) for layer in made.modules()):
        raise UsageError("batch normalisation has nothing to compare a single sample with", "give --batch 2 or more")
    _refuse_uneven(chosen.batch, request.accumulate, world.size)
    refuse_parts(made, world.size, request.accumulate)
    steps = request.steps or max(1, math.ceil(chosen.epochs * count / reads))
    epochs = steps * reads / count
    plan = Plan(
        steps, chosen.batch, request.accumulate, request.checkpoint_every, request.keep,
        request.preview_every or max(1, round(epochs / 5)), request.evaluate_every, made.batches,
    )  # fmt: skip
    average = Average(made, chosen.average * 1000)
    precision = pick_precision(request.precision, world.device, points=not made.signal.rank)
    wraps = _wraps(request, made, dataset, unseen, world)
    late = None
    if request.transition is not None:
        late = Transition(made, average.networks, *request.transition, steps * reads / 1000)
        wraps.append(late)
    learner = Learner(made, average, world, precision, request.seed, steps, wraps)
    seen = next((wrap for wrap in wraps if isinstance(wrap, Measured) and request.measured), None)
    if world.first:
        _check_space(request, sum(p.numel() for p in made.parameters()))
    # A grid of 4×4 pictures, or a column for each of a few classes; points need more to show a shape.
    classes = made.conditional and not isinstance(made, Captioned) and made.signal.classes <= 20
    columns = made.signal.classes if classes else 4
    shown = 2500 if not made.signal.rank else columns * max(1, min(4, made.at_once // columns))
    fixed = torch.randn(shown, made.latent, generator=generator(request.seed, "preview"))
    watched = max(64, 256 // made.passes)
    some = dataset.take(permutation(request.seed, count, "watch")[:watched])
    other = None if unseen is None else unseen.take(permutation(request.seed, len(unseen), "watch")[:watched])
    evaluates = request.evaluate_every and not request.dry_run
    eye = features.load(suited(dataset.manifest)) if evaluates and made.signal.rank else None
    facts = {
        "method": method,
        "settings": {"method": method, **request.model_dump(mode="json", exclude=_NOT_OF_THE_RUN),
                     **chosen.model_dump(mode="json")},
        "data": dataset.manifest.model_dump(mode="json"),
        "machine": {**machine(world.device), "precision": str(precision).removeprefix("torch."),
                    "processes": world.size},
        **origin,
    }  # fmt: skip

    def begin(folder: Path) -> Loop:
        def preview(name: str) -> Path:
            path = folder / "grids" / f"{name}.png"
            with average.applied(made):
                samples = made.draw(fixed)
            Pictures.of(samples, {"method": method, "step": loop.step, "seed": request.seed}).save(path, columns)
            return path

        def watch(step: int) -> dict[str, float]:
            with average.applied(made):
                # Of the classes that the real ones beside them have.
                asked = made.told(some) if made.conditional else None
                drawn = made.drawn(len(some["x"]), generator(request.seed, "watch", step), asked)
            # Pictures that were measured before are as varied as measured samples, not as clean ones.
            made.luck = Luck(request.seed, "watch", "measure", step)
            shown = seen.fake(drawn) if seen else drawn
            found = {"ratio": diversity_ratio(shown, some["x"])}
            if len(shown) > NEIGHBOURS:
                found["coverage"] = coverage(thumbnails(some["x"]), thumbnails(shown))
            if other is not None:
                known, new = made.scored(some), made.scored(other)
                if known is not None and new is not None:
                    found["held_out_gap"] = float(known.mean() - new.mean())
            return found

        def evaluate() -> dict[str, float]:
            # Pictures that were measured before are compared with measured samples.
            made.luck = Luck(request.seed, "evaluation", "measure")

            def draw(samples: int) -> Iterator[torch.Tensor]:
                with average.applied(made):
                    for drawn in draws(made, dataset, request.seed, samples):
                        yield seen.fake(drawn["x"]) if seen else drawn["x"]

            return quick(draw, dataset, eye)

        def keep_best(path: Path, step: int, score: float) -> bool:
            if late and late.scale < 1:  # A file does not say how far classes had come in.
                return False
            _save_model(loop, path, {"score": score})
            return True

        loop = Loop(learner, dataset, folder, plan, facts, preview, evaluate, watch, keep_best)
        return loop

    return begin


def _begun(request: Train, method: Generate, name: str, found: Checkpoint | None) -> dict[str, Any]:
    """Where the weights begin: "init" is the SHA-256 of the model that they come from, where there is one."""
    from limner.operations.sample import model_file
    from limner.training.finetune import freeze, start_from

    if request.freeze and request.init is None:
        raise UsageError("--freeze keeps layers of a saved model", "give --init MODEL too")
    if found and (before := found.header.get("settings", {}).get("init")) != (request.init and str(request.init)):
        began = f"--init {before}" if before else "weights of its own"
        raise UsageError(f"this run has begun with {began}", "leave out --init, or start a new run")
    if request.init is None:
        return {}
    # A run that goes on has its weights in its checkpoint; the model that it began from may be gone.
    came = found.header.get("init", "") if found else start_from(model_file(request.init), method, name)
    if found and found.header.get("freeze", 0) != request.freeze:
        raise UsageError(
            f"this run froze {found.header.get('freeze', 0)} layers, and cannot go on with {request.freeze}",
            "leave out --freeze, or start a new run",
        )
    if request.freeze:
        freeze(method, request.freeze)
    return {"init": came, "freeze": request.freeze}


def _same_part(request: Train, aside: int, reads: int, found: Checkpoint) -> None:
    """A run goes on with the part of the data that it began with, or else it would have learned from what is unseen;
    and in steps of as many samples, by which epochs, schedules and the order of the data are counted.

    aside   samples that are set aside now
    reads   samples that a step reads now
    raises  UsageError   if it is another part, or another number
    """
    header, hint = found.header, "leave that as it was, or start a new run"
    if header.get("shard", "") != request.shard:
        raise UsageError(f"this run began with --shard {header.get('shard') or '1/1'}", hint)
    if header.get("set_aside", 0) != aside:
        raise UsageError(
            f"this run began with {header.get('set_aside', 0):,} samples set aside, and cannot go on with {aside:,}",
            hint,
        )
    if aside and header["settings"]["seed"] != request.seed:
        raise UsageError("the seed says which samples are set aside, and this run began with another", hint)
    if header["seen"] != header["step"] * reads:
        before = header["seen"] / header["step"]
        raise UsageError(f"a step of this run has read {before:,.0f} samples, and cannot go on with {reads:,}", hint)


def _wraps(request: Train, method: Generate, dataset: Dataset, unseen: Dataset | None, world: World) -> list[Wrap]:
    """What the run puts around the method."""
    import numpy as np

    from limner.training.augmentation import Adaptive, Augmentation
    from limner.training.lecam import LeCam
    from limner.training.measured import Measured

    if request.measured and not request.measure:
        raise UsageError("--measured says nothing without --measure", "say how the data were measured: --measure")
    if request.measure and request.augment == "ada":
        raise UsageError("--augment ada looks at pictures that are not measured", "give --augment diffaugment")
    if request.augment != "none" and method.augments:
        raise UsageError(
            f"--augment {request.augment} and --augment-p would change each picture twice",
            "leave out --augment, or give --augment-p 0",
        )
    wraps: list[Wrap] = []
    if request.measure:
        wraps.append(Measured(method, request.measure, not request.measured, request.seed))
    if request.augment == "ada":
        assert unseen is not None
        if method.conditional and method.reads not in unseen.take(np.arange(1)):
            raise UsageError(
                "--augment ada needs unseen pictures of the learned classes, and the test part has none or others",
                "call the folders of its classes as those of the train part",
            )
        wraps.append(Adaptive(method, dataset, unseen, world, request.seed))
    elif request.augment != "none":
        wraps.append(Augmentation(method, request.augment))
    if request.lecam:
        wraps.append(LeCam(method, request.lecam))
    return wraps


def _save_model(loop: Loop, path: Path, more: Mapping[str, Any]) -> None:
    from limner.features import minilm
    from limner.models.card import card
    from limner.models.model import save_model
    from limner.tasks.generate import Captioned

    training = {
        "steps": loop.step, "images": loop.seen, "seconds": round(loop.seconds, 1), "seed": loop.root,
        "precision": loop.facts["machine"]["precision"], "machine": loop.facts["machine"],
        "skipped_steps": loop.guard.skipped, "limner": __version__,
        "averaged": loop.learner.average.half_life > 0, "peak_memory_mb": round(loop.most_memory() / 1e6, 1), **more,
    }  # fmt: skip
    kept = ("init", "measure", "measured", "shard", "set_aside")
    training |= {name: loop.facts[name] for name in kept if name in loop.facts}
    method, facts = loop.facts["method"], {"data": loop.facts["data"], "training": training}
    if isinstance(loop.learner.method, Captioned):
        facts["text_encoder"] = {"name": f"{minilm.PACKAGE} {minilm.VERSION}", "sha256": minilm.SHA256}
    with loop.learner.average.applied(loop.learner.method) as averaged:
        about = card(catalog.head(method), loop.dataset.manifest, training)
        save_model(path, averaged, method, {**facts, "card": about})


def _check_space(request: Train, weights: int) -> None:
    """Refuse to begin a run whose files cannot fit: weights, average and two moments for each checkpoint."""
    place = (request.resume or request.out or Path("runs")).absolute()
    place = next(folder for folder in (place, *place.parents) if folder.is_dir())
    each = weights * 4 * 4
    needed = each * (request.keep + 2)
    if request.resume:
        # Old checkpoints go as new ones come; there must be room for two before that.
        there = sum(file.stat().st_size for file in place.glob("checkpoints/*.safetensors"))
        needed = max(2 * each, needed - there)
    free = shutil.disk_usage(place).free
    if free < needed:
        raise LimnerError(
            f"{place} has {free / 1e6:,.0f} MB free, and the run's checkpoints need about {needed / 1e6:,.0f} MB",
            "free space, choose another --out, or lower --keep",
        )


def _run_folder(request: Train, method: str) -> Path:
    """The run's folder. One that limner names is made exclusively; one that a person names may be there."""
    try:
        if request.resume is not None:
            return request.resume
        if request.out is not None:
            request.out.mkdir(parents=True, exist_ok=True)
            return request.out
        root = Path("runs")
        root.mkdir(exist_ok=True)
        number = 1
        while True:
            try:
                (root / f"{method}-{number:03d}").mkdir()
            except FileExistsError:
                number += 1
            else:
                return root / f"{method}-{number:03d}"
    except OSError as error:
        raise unwritable(request.out or Path("runs"), error) from None


def _clear(folder: Path) -> None:
    """Remove an earlier run's files. What limner did not write stays."""
    for name in _OURS:
        (folder / name).unlink(missing_ok=True)
    for sub, pattern in _OUR_FOLDERS.items():
        for path in (folder / sub).glob("*"):
            if re.fullmatch(pattern, path.name):
                path.unlink()
    for path in _half_written(folder):
        path.unlink()


def _half_written(folder: Path) -> list[Path]:
    """The temporary files of a run's writers that were killed (see core.files.atomic); whoever holds the lock is alone.

    What has no name of limner's stays.
    """
    ours = {"": "|".join(map(re.escape, _OURS)), **_OUR_FOLDERS}
    return [path for sub, pattern in ours.items() for path in sorted((folder / sub).glob(".*.part"))
            if re.fullmatch(rf"\.({pattern})\.\w+\.part", path.name)]  # fmt: skip


def _writer() -> Any:
    """TensorBoard's writer, if it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_extra("TensorBoard", "tensorboard") from None
    return SummaryWriter


def _tensorboard(loop: Loop, events: Iterator[Event]) -> Iterator[Event]:
    """The same events, and their figures for TensorBoard.

    raises LimnerError   if the disk is full or the place cannot be written
    """
    place = loop.folder / "tensorboard"
    try:
        writer = _writer()(str(place))
    except OSError as error:
        raise unwritable(place, error) from None
    for event in events:
        if isinstance(event, Progress | Epoch):
            try:
                for name, value in event.values.items():
                    writer.add_scalar(f"{type(event).__name__.lower()}/{name}", value, loop.step)
                writer.flush()
            except OSError as error:
                raise unwritable(place, error) from None
        yield event
