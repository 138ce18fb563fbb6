"""Evaluate: measure how good a model's pictures are, beside real ones, and write a page about it."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, field_validator

from limner.core import __version__
from limner.core.errors import DataError, ModelError, UsageError, command
from limner.core.events import Event, Finished, Note, Progress, Saved, Table
from limner.core.files import refuse_existing, write
from limner.core.settings import Settings
from limner.operations.sample import model_file

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.method import Batch
    from limner.data.dataset import Dataset
    from limner.features.network import Features
    from limner.metrics.figures import Cloud
    from limner.reports.evaluation import Panels
    from limner.reports.subject import Subject
    from limner.tasks.generate import Generate

Metric = Literal[
    "fd", "kd", "is", "prdc", "vendi", "classes", "distinct", "diversity", "memorisation", "discriminator",
    "psnr", "ssim", "ms_ssim", "perceptual",
]  # fmt: skip


class Evaluate(Settings):
    """What to measure, and against what."""

    what: tuple[str, ...] = Field(min_length=1, max_length=2)
    """A model file or run folder; or two sets of pictures to compare: folders, archives, packs or built-in sets."""
    data: str | None = None
    """The real data to compare with; those that the model learned from where it is not given."""
    samples: int | None = Field(default=None, ge=2, le=10_000_000)
    """How many samples; 10,000, or 1,000 where the network that looks at them is large and there is no GPU, or the
    26,000 of the published protocol for stacked digits."""
    seeds: int = Field(default=1, ge=1, le=100)
    """How many times to sample anew: figures become the mean ± the standard deviation over them."""
    seed: int = Field(default=0, ge=0)
    """The first of the sampling seeds."""
    features: Literal["auto", "digits", "efficientnet", "inception", "stacked", "tiny"] = "auto"
    """The network that looks at the pictures; auto takes digits for handwritten digits, stacked for three of them as
    colours, and efficientnet otherwise."""
    weights: Path | None = None
    """The weights' file of the features inception."""
    metrics: tuple[Metric, ...] = ()
    """Only these, by comma; where it is not given, all but the last four, which compare each picture with its original:
    the one of the same name in the second folder."""
    border: int = Field(default=0, ge=0, le=1024)
    """px cut from each side of a picture and its original; super-resolution tables cut the scale."""
    size: int | None = Field(default=None, ge=1, le=4096)
    """Side in px that two sets of pictures are brought to, where theirs differ."""
    out: Path | None = None
    """The folder of the report; evaluation/ beside the model, or evaluation/ here for pictures."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the fastest there is."""
    force: bool = False
    """Overwrite the report that stands in --out."""

    @field_validator("what", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        """A single path may be given as it is, from Python."""
        values = (value,) if isinstance(value, str | Path) else value
        if not isinstance(values, list | tuple):
            return values
        return tuple(str(one) if isinstance(one, Path) else one for one in values)

    @field_validator("metrics", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """As on the command line, from Python."""
        return tuple(value.split(",")) if isinstance(value, str) else value


_SHOWN = 100  # samples of the gallery, where they are small
_ROW = 12  # pictures in a row of the other panels
_QUERIES = 1_000  # samples whose nearest training picture is looked for
_TELL_EVERY = 0.2


def evaluate(request: Evaluate) -> Iterator[Event]:
    """Measure a model against real data, or a set of pictures against another, telling events; the last is Finished.

    Writes report.html and report.json, each whole or not at all.

    raises UsageError, DataError, ModelError, LimnerError
    """
    from limner.data.sources import refuse_unknown

    first, second = request.what[0], request.what[1] if len(request.what) == 2 else None
    for source in (second, request.data, *([] if _is_model(first) else [first])):
        if source is not None:
            # Known before torch is loaded, which takes seconds.
            refuse_unknown(source)
    if second is not None and (found := [one for one in request.what if _is_model(one)]):
        other = next((one for one in request.what if one != found[0]), found[0])
        raise UsageError(
            f"{found[0]} is a model, and two words are two sets of pictures",
            command("compare", first, second) if len(found) == 2 else command("evaluate", found[0], "--data", other),
        )
    if set(request.metrics) & _PAIRED:
        yield from _pairs(request)
        return
    if request.border:
        raise UsageError(
            "--border is cut where pairs of pictures are compared", "leave it out, or give --metrics psnr,ssim"
        )
    if second is None and _is_model(first):
        if request.size is not None:
            raise UsageError("--size is for two sets of pictures; a model's have their own", "leave out --size")
        path = model_file(Path(first))
        out = request.out or path.parent / "evaluation"
        refuse_existing(out, request.force)
        from limner.reports.subject import model_subject

        subject, data, held_out = yield from model_subject(path, request.data, request.device)
    else:
        against = second or request.data
        if against is None:
            raise UsageError(
                f"{first} is no model, and there is nothing to compare its pictures with",
                f"{command('evaluate', first, 'OTHER')}, or give a model file",
            )
        if second is not None and request.data is not None:
            raise UsageError("two sets of pictures need no --data", "leave it out")
        out = request.out or Path("evaluation")
        refuse_existing(out, request.force)
        from limner.reports.subject import pictures_subject

        subject, data, held_out = yield from pictures_subject(first, against, request.size, whole=second is not None)
    yield from _Evaluation(request, subject, data, held_out, out).run()


def _is_model(given: str) -> bool:
    """A model file or run, rather than pictures or the name of a set."""
    path = Path(given)
    if path.is_dir():
        return (path / "model.safetensors").is_file() or (path / "settings.json").is_file()
    return path.suffix == ".safetensors" or (path.is_file() and _starts_like_a_model(path))


def _starts_like_a_model(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{"


# --- pictures and their originals -------------------------------------------------------------------------------------

_PAIRED = {"psnr", "ssim", "ms_ssim", "perceptual"}


def _pairs(request: Evaluate) -> Iterator[Event]:
    """Each restored picture beside its original."""
    from limner.features import efficientnet
    from limner.reports import pairs as p
    from limner.reports.words import finite
    from limner.training.loop import machine
    from limner.training.world import pick_device

    if len(request.what) != 2 or request.data is not None:
        raise UsageError(
            f"{', '.join(request.metrics)} compare{'s' * (len(request.metrics) == 1)} restored pictures with their "
            "originals",
            f"limner evaluate RESTORED ORIGINALS --metrics {','.join(request.metrics)}",
        )
    if others := [metric for metric in request.metrics if metric not in _PAIRED]:
        raise UsageError(
            f"{others[0]} compares sets of pictures, and {', '.join(sorted(_PAIRED & set(request.metrics)))} pairs",
            "ask for them one after the other",
        )
    if vain := {"samples", "seeds", "seed", "features", "weights", "size"} & request.model_fields_set:
        raise UsageError(
            f"--{min(vain)} says nothing where pictures are compared one by one", f"leave out --{min(vain)}"
        )
    began, device = time.perf_counter(), pick_device(request.device)
    out = request.out or Path("evaluation")
    refuse_existing(out, request.force)
    eye = None
    if "perceptual" in request.metrics:
        yield from efficientnet.fetch()
        eye = efficientnet.load().to(device)
    found = yield from p.pairs(*request.what, request.metrics, request.border, eye)
    figures = p.means(found)
    few = {name: sum(name in pair.figures for pair in found) for name in figures}
    notes = [f"{request.border} px were cut from each side" if request.border else "no border was cut"]
    notes += [f"{name} is of {count:,} of {len(found):,} pictures; the others are too small, or grey"
              for name, count in few.items() if count < len(found)]  # fmt: skip
    notes += [
        f"there is no {name}: it takes pictures of {least} px and more"
        for metric, (name, least) in p.LEAST.items()
        if metric in request.metrics and name not in figures
    ]
    record: dict[str, Any] = {
        "kind": "pairs", "format": 1, "limner": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "title": f"{Path(request.what[0]).resolve().name} beside {Path(request.what[1]).resolve().name}",
        "figures": figures, "notes": notes, "border": request.border,
        "features": {"name": eye.name, "sha256": eye.weights_sha256} if eye else None,
        "machine": machine(device), "command": _command(request),
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
    yield Table(
        record["title"], ("figure", "mean", "direction", ""),
        tuple((name, p.shown(name, value), *p.SAYS[name][1:]) for name, value in figures.items()), tuple(notes),
    )  # fmt: skip
    listed = [{"picture": pair.name, **{k: finite(v) for k, v in pair.figures.items()}} for pair in found]
    finite_figures = {name: finite(value) for name, value in figures.items()}
    content = {**record, "figures": finite_figures, "pictures": listed}
    yield from _saved(out, p.pairs_page(record, found), content, finite_figures)


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass
class _Meter:
    """How far the work is: pictures that are still to be looked at, and comparisons still to be made."""

    pictures: int
    comparisons: int
    done: int = 0
    looking: float = 0.0
    comparing: float = 0.0
    _since: float = field(default_factory=time.perf_counter)
    _told: float = 0.0

    def looked(self, count: int) -> Iterator[Event]:
        """So many pictures more were looked at."""
        now = time.perf_counter()
        self.looking += now - self._since
        self._since = now
        self.done = min(self.pictures, self.done + count)
        if now - self._told > _TELL_EVERY or self.done == self.pictures:
            self._told = now
            rate = self.done / max(1e-9, self.looking)
            left = (self.pictures - self.done) / rate + self.comparisons * self.comparing
            yield Progress("evaluate", self.done, self.pictures, "pictures", rate, "images/s", left)

    def compared(self) -> None:
        """A comparison of two clouds was made."""
        now = time.perf_counter()
        self.comparing = max(self.comparing, now - self._since)
        self.comparisons -= 1
        self._since = now


@dataclass
class _Seen:
    """What is kept of the first seed's samples, for the panels.

    first    (≤ kept, C, *size)
    classes  a few samples of each class
    scores   of the discriminator
    level    whether scores above 0 mean that it takes a sample for real
    seconds  spent sampling, and how many were sampled in them
    """

    first: list[Tensor] = field(default_factory=list)
    classes: dict[int, list[Tensor]] = field(default_factory=dict)
    scores: list[Tensor] = field(default_factory=list)
    level: bool = True
    seconds: float = 0.0
    sampled: int = 0


class _Evaluation:
    """One evaluation: the figures first, then the panels, then the two files."""

    def __init__(self, request: Evaluate, subject: Subject, data: Dataset, held_out: Dataset | None, out: Path) -> None:
        self.request, self.subject, self.data, self.held_out, self.out = request, subject, data, held_out, out
        self.began = time.perf_counter()
        self.notes: list[str] = []
        self.seen = _Seen()
        self.judge_rows: dict[str, Any] | None = None
        self.memory: dict[str, Any] | None = None

    @property
    def method(self) -> Generate | None:
        """The model's method; None for a set of pictures."""
        from limner.tasks.generate import Generate

        made = self.subject.model.method if self.subject.model else None
        return made if isinstance(made, Generate) else None

    @property
    def learned(self) -> Dataset:
        """The real data that the model learned from; where it learned from others, those that it is held against."""
        return self.data if self.subject.learned is None else self.subject.learned

    @property
    def strange(self) -> bool:
        """Whether the model learned from other data than it is held against."""
        return self.subject.model is not None and self.subject.learned is None

    @property
    def unseen(self) -> str:
        """What the held-out part is."""
        assert self.held_out is not None
        return "set aside in training" if self.held_out.rows is not None else "of the test part"

    @property
    def spoilt(self) -> str:
        """How the pictures were measured that the discriminator learned from; empty where they were not."""
        return str(self.subject.model.header["training"].get("measure", "")) if self.subject.model else ""

    def wants(self, metric: str) -> bool:
        """Whether a metric was asked for."""
        return not self.request.metrics or metric in self.request.metrics

    def run(self) -> Iterator[Event]:
        """Measure, look, write."""
        from limner.training.processor import for_heavy_work
        from limner.training.world import pick_device

        for_heavy_work()
        pick_device(self.request.device)
        if not self.data.signal.rank and (vain := {"features", "weights"} & self.request.model_fields_set):
            raise UsageError(
                "points are measured as they are, and no network looks at them", f"leave out --{min(vain)}"
            )
        if not self.data.signal.rank and not {"discriminator"}.issuperset(self.request.metrics):
            raise UsageError(
                "--metrics chooses among figures of pictures; of points all of theirs are taken", "leave out --metrics"
            )
        if self.data.signal.rank not in (0, 2):
            raise UsageError(f"evaluate measures pictures and points, not {self.data.signal.describe()}")
        rows, panels, record = yield from (self._points() if not self.data.signal.rank else self._images())
        columns = record["columns"]
        yield Table(
            record["title"],
            ("figure", *columns, "direction"),
            tuple(_table_row(row) for row in rows),
            tuple(record["notes"]),
        )
        if self.judge_rows is not None:
            from limner.reports.words import measured

            yield Table(
                "the discriminator", ("", "", ""),
                tuple((row["name"], measured(row), row["says"]) for row in self.judge_rows["rows"]),
            )  # fmt: skip
        yield from self._write(record, panels)

    # --- pictures ---

    def _images(self) -> Generator[Event, None, tuple[list[dict[str, Any]], Panels, dict[str, Any]]]:
        import torch

        from limner.metrics import figures as f
        from limner.reports.evidence import TRAINING, as_bytes, diversity
        from limner.reports.evidence import rows as rows_of

        request, data = self.request, self.data
        eye = yield from self._eye()
        count = self._count(eye)
        groups = [group for group in f.GROUPS if self.wants(group)]
        against = f.compares(eye, groups)
        reference_count = min(count, len(data)) if against else 0
        # Where few were held out, one half of the rest says more beside the other.
        halves = self.held_out is None or len(self.held_out) < reference_count // 2
        held_count = min(count, len(data) // 2) if halves else min(count, len(self.held_out or ()))
        most = min(f.BALLS, count, held_count, reference_count) if against else f.BALLS
        queries = min(_QUERIES, count) if self.wants("memorisation") and not self.strange else 0
        meter = _Meter(
            reference_count + held_count + (held_count if halves and against else 0) + count * request.seeds
            + (min(len(data), TRAINING) if queries else 0),
            1 + request.seeds,
        )  # fmt: skip
        # The network's classes are the data's.
        named = data.labels is not None and eye.name in ("digits", "stacked") and eye.name == f.suited(data.manifest)

        reference = f.Cloud(eye)
        for batch in f.real_pictures(data, reference_count):
            reference.update(batch)
            yield from meter.looked(len(batch))
        # The row of real pictures: held-out ones against the reference, or one half of it against the other.
        held, base = f.Cloud(eye), reference
        if halves and against:
            base = f.Cloud(eye)
            for batch in f.real_pictures(data, held_count, skip=held_count):
                base.update(batch)
                yield from meter.looked(len(batch))
        for batch in f.real_pictures(data if halves else self.held_out or data, held_count):
            held.update(batch)
            yield from meter.looked(len(batch))
        real = {figure.kind: figure for figure in f.figures(held, base, groups, named=named, most=most)}
        meter.compared()

        by_seed = []
        for number in range(request.seeds):
            seed = request.seed + number
            cloud = f.Cloud(eye)
            yield from self._sample(cloud, seed, count, meter, keep=number == 0)
            found = list(f.figures(cloud, reference, groups, named=named, most=most))
            meter.compared()
            by_seed.append(found)
            if request.seeds > 1:
                head = next(iter(found), None)
                yield Note(f"seed {seed}: {head.name} {head.value:.4g}" if head else f"seed {seed} done")
            if number == 0:
                first_cloud = cloud
        rows = rows_of(by_seed, real)
        first = torch.cat(self.seen.first)
        if self.wants("diversity") and (row := diversity(first, data, self.held_out)):
            rows.append(row)
        panels: dict[str, Any] = {}
        if queries:
            rows += yield from self._copies(first[:queries], meter, panels)
        if self.wants("discriminator"):
            self._judge(panels)
        self._gallery(first, panels)
        self._notes(eye, count, reference_count, held_count, halves, most)
        got = {row["kind"] for row in rows}
        self.notes += [
            f"there is no {group}: it takes {f.needs(group)}"
            for group in f.GROUPS if group in request.metrics and not got.intersection(f.GROUPS[group])
        ]  # fmt: skip
        record = self._record(rows, eye, count, reference_count, held_count, halves, most)
        if named and eye.name == "digits" and first_cloud.counts is not None and reference.counts is not None:
            record["classes"] = {
                "names": list(data.manifest.classes), "samples": first_cloud.counts.tolist(),
                "real": reference.counts.tolist(), "read_by": eye.name,
            }  # fmt: skip
            panels["classes"] = [
                (name, as_bytes(self.seen.classes.get(i, []), self.data.signal.shape))
                for i, name in enumerate(data.manifest.classes)
            ]
        return rows, _panels(panels), record

    def _eye(self) -> Generator[Event, None, Features]:
        from limner.features import fetch, load
        from limner.metrics.figures import suited
        from limner.training.world import pick_device

        name = suited(self.data.manifest) if self.request.features == "auto" else self.request.features
        channels = self.data.signal.channels
        if channels not in ((3,) if name == "stacked" else (1, 3)):
            raise UsageError(
                f"{name} looks at {'three stacked digits' if name == 'stacked' else 'grey or colour pictures'}, and "
                f"{self.data.manifest.name} has {channels} channel{'s' * (channels > 1)}",
                "leave out --features" if name == "stacked" else "there is no network for such pictures",
            )
        yield from fetch(name)
        return load(name, self.request.weights).to(pick_device(self.request.device))

    def _count(self, eye: Features) -> int:
        """How many samples: as asked, or what the machine can look at within minutes."""
        from limner.metrics import modes
        from limner.metrics.figures import slow

        usual = 1_000 if slow(eye) else modes.STACKED_SAMPLES if eye.name == "stacked" else 10_000
        count = self.request.samples or usual
        return min(count, self.subject.most) if self.subject.most else count

    def _sample(self, cloud: Cloud, seed: int, count: int, meter: _Meter, keep: bool) -> Iterator[Event]:
        from limner.features.network import quantised

        batches = self.subject.sampler(seed, count)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.seen.seconds += time.perf_counter() - began
            self.seen.sampled += len(batch["x"])
            # All that follows sees what a PNG would hold.
            x = quantised(self._finite(batch["x"]))
            labels = cloud.update(x)
            if keep:
                self._keep(x, labels)
                self._hear({**batch, "x": x})
            yield from meter.looked(len(x))

    def _finite(self, x: Tensor) -> Tensor:
        if not x.isfinite().all():
            raise ModelError(
                f"{self.request.what[0]} makes values that are not finite", "take an earlier checkpoint, or train again"
            )
        return x

    def _keep(self, batch: Tensor, labels: Tensor | None) -> None:
        """The first samples, and some of each class."""
        wanted = max(_QUERIES, _SHOWN) - sum(map(len, self.seen.first))
        if wanted > 0:
            self.seen.first.append(batch[:wanted].clone())
        if labels is None or len(self.data.manifest.classes) != 10:
            return
        for picture, label in zip(batch, labels.tolist(), strict=True):
            row = self.seen.classes.setdefault(label, [])
            if len(row) < _ROW:
                row.append(picture.clone())

    def _mute(self) -> str:
        """Why the discriminator is not asked; empty where it is."""
        if self.spoilt:
            return f"it knows pictures measured by {self.spoilt} alone"
        return (
            "" if self._tells(self.data) else "it judges by classes or captions, and the data have not those it learned"
        )

    def _tells(self, data: Dataset) -> bool:
        """Whether data tell what the discriminator is told of a sample, if anything: its class, or its caption."""
        from limner.tasks.generate import Captioned

        method, model = self.method, self.subject.model
        if method is None or model is None or not method.conditional:
            return True
        if isinstance(method, Captioned):
            return data.text is not None
        return data.labels is not None and data.manifest.classes == tuple(model.header["data"]["classes"])

    def _hear(self, batch: Batch) -> None:
        """What the discriminator says of the first samples."""
        from limner.reports.evidence import JUDGED

        method = self.method
        if method is None or not self.wants("discriminator") or sum(map(len, self.seen.scores)) >= JUDGED:
            return
        if self._mute():
            return
        said = method.verdict(batch)
        self.seen.level = said is not None
        said = method.scored(batch) if said is None else said
        if said is not None:
            self.seen.scores.append(said)

    # --- panels ---

    def _copies(
        self, samples: Tensor, meter: _Meter, panels: dict[str, Any]
    ) -> Generator[Event, None, list[dict[str, Any]]]:
        """The nearest training picture of each sample."""
        from limner.reports.evidence import as_bytes, copies

        looking = copies(samples, self.learned, self.held_out)
        while True:
            try:
                yield from meter.looked(next(looking))
            except StopIteration as done:
                found = done.value
                break
        shape = self.data.signal.shape

        def pairs(chosen: Any) -> tuple[Any, Any, list[float]]:
            nearest = self.learned.take(found.nearest[chosen])["x"]
            return as_bytes(samples[chosen], shape), as_bytes(nearest, shape), found.distance[chosen].tolist()

        panels["nearest"] = pairs(found.distance.argsort()[:_ROW].numpy())
        panels["random"] = pairs(list(range(min(_ROW, len(samples)))))
        panels["distances"] = (found.distance.tolist(), found.usual.tolist())
        self.memory = found.facts
        return [found.row]

    def _judge(self, panels: dict[str, Any]) -> None:
        """The discriminator's performance, where the method has one."""
        import torch

        from limner.reports.evidence import JUDGED, judgement

        method, held_out = self.method, self.held_out
        if method is None or not self.seen.scores:
            return
        if self.strange or (held_out is not None and not self._tells(held_out)):
            held_out = None
        fake = torch.cat(self.seen.scores)[:JUDGED]
        found = judgement(
            method.verdict if self.seen.level else method.scored, fake, self.learned, held_out,
            odds=method.odds, level=self.seen.level, learned=not self.strange,
        )  # fmt: skip
        self.judge_rows = found.facts
        panels["logits"] = (found.train.tolist(), found.unseen.tolist(), found.fake.tolist())

    def _gallery(self, first: Tensor, panels: dict[str, Any]) -> None:
        """Samples, real pictures, and walks between noises."""
        import torch

        from limner.core.random import generator
        from limner.metrics.figures import real_pictures
        from limner.models.pictures import between
        from limner.reports.evidence import as_bytes

        side = max(self.data.signal.size)
        across = 10 if side <= 32 else 8 if side <= 64 else 6
        shown = min(across**2, len(first))
        panels["samples"] = as_bytes(first[:shown], self.data.signal.shape)
        panels["real"] = as_bytes(
            torch.cat(list(real_pictures(self.held_out or self.data, across**2))), self.data.signal.shape
        )
        method = self.method
        if method is None or (method.signal.classes and self.data.labels is None):
            return
        ends = torch.randn(2 * 5, method.latent, generator=generator(self.request.seed, "walks"))
        # A walk stays within one class or caption, where there are any.
        one_of_each = method.in_turn(5)
        of = [None if one_of_each is None else one_of_each[i : i + 1].repeat_interleave(_ROW, 0) for i in range(5)]
        # A walk stays with the network that it begins with.
        ends[1::2, : method.picks] = ends[::2, : method.picks]
        walks = [method.draw(between(ends[2 * i], ends[2 * i + 1], _ROW), of[i]) for i in range(5)]
        panels["walks"] = as_bytes(torch.cat(walks), self.data.signal.shape).reshape(5, _ROW, *self.data.signal.shape)

    # --- points ---

    def _points(self) -> Generator[Event, None, tuple[list[dict[str, Any]], Panels, dict[str, Any]]]:
        import torch

        from limner.metrics.figures import point_figures, real_pictures
        from limner.reports.evidence import rows as rows_of

        request, manifest = self.request, self.data.manifest
        count = min(request.samples or 10_000, self.subject.most or 1 << 40, len(self.data))
        # Without a held-out part two halves are compared; what is drawn from the same half is no other.
        few = count if self.held_out is not None else min(count, len(self.data) // 2)
        if not few:
            raise DataError(f"{manifest.name} holds a single point, and its halves cannot be compared", "give more")
        real = torch.cat(list(real_pictures(self.data, count)))
        base = real if self.held_out is not None else torch.cat(list(real_pictures(self.data, few, skip=few)))
        others = torch.cat(list(real_pictures(self.held_out or self.data, few)))
        meter = _Meter(count * request.seeds, 1 + request.seeds)
        truth = {figure.kind: figure for figure in point_figures(others, base, manifest)}
        meter.compared()
        by_seed = []
        made = others
        for number in range(request.seeds):
            parts = []
            for batch in self.subject.sampler(request.seed + number, count):
                parts.append(self._finite(batch["x"]))
                if number == 0:
                    self._keep(batch["x"], None)
                    self._hear(batch)
                yield from meter.looked(len(batch["x"]))
            points = torch.cat(parts)
            made = points if number == 0 else made
            by_seed.append(list(point_figures(points, real, manifest)))
            meter.compared()
        rows = rows_of(by_seed, truth)
        flat = self.data.signal.channels > 1  # On a line there is nothing to draw in the plane.
        panels: dict[str, Any] = {"points": (made[:2000].tolist(), others[:2000].tolist())} if flat else {}
        if self.wants("discriminator"):
            self._judge(panels)
        halves = self.held_out is None
        self._notes(None, count, len(real), len(others), halves)
        return rows, _panels(panels), self._record(rows, None, count, len(real), len(others), halves)

    # --- the report ---

    def _notes(
        self, eye: Features | None, count: int, reference: int, held: int, halves: bool, most: int | None = None
    ) -> None:
        request, manifest = self.request, self.data.manifest
        seeds = f"{request.seeds} seeds from {request.seed}" if request.seeds > 1 else f"seed {request.seed}"
        if eye is not None:
            self.notes.append(f"seen through {eye.name} (weights {eye.weights_sha256[:12]}), resize {_resize(eye)}")
        if not reference:
            self.notes.append(f"{count:,} samples, {seeds}; real row: {held:,} of {manifest.name}")
        else:
            self.notes.append(
                f"{count:,} samples, {seeds}; reference: {reference:,} of the {len(self.data):,} {manifest.split} "
                f"samples of {manifest.name}"
            )
            why = (
                "there is no held-out part" if self.held_out is None else f"{len(self.held_out):,} held out are too few"
            )
            against = f"{held:,} {self.unseen} against the same reference" if not halves else (
                f"{held:,} real one{'s' * (held != 1)} against {held:,} other{'s' * (held != 1)}: {why}"
            )  # fmt: skip
            self.notes.append(f"real row: {against}")
        if self.method is not None and self.method.scores() and not self.seen.scores and self.wants("discriminator"):
            self.notes.append(f"the discriminator is not asked: {self._mute() or 'it scores no single samples'}")
        if "discriminator" in request.metrics and not (self.method and self.method.scores()):
            self.notes.append("there is no discriminator to ask")
        if self.strange and self.wants("memorisation"):
            self.notes.append("copying is not looked for: the model learned from other data")
        if held < count:
            self.notes.append("the real row has fewer samples than the model, which makes its distances read higher")
        if most and {"prdc", "vendi", "distinct"} & set(self.request.metrics or ("prdc",)):
            self.notes.append(
                f"precision, recall, density, coverage, Vendi, distinct: {most:,} of each, in both columns"
            )
        if request.seeds > 1:
            self.notes.append(
                f"± is the standard deviation over {request.seeds} seeds; of diversity, copying and the discriminator, "
                "the 95 % range of the first"
            )
        else:
            of_parts = "; of KD/KID and IS, the standard deviation over subsets" if eye else ""
            self.notes.append(f"± is a 95 % range{of_parts}")

    def _record(
        self,
        rows: list[dict[str, Any]],
        eye: Features | None,
        count: int,
        reference: int,
        held: int,
        halves: bool,
        most: int | None = None,
    ) -> dict[str, Any]:
        from limner.metrics.figures import BATCH, NEIGHBOUR
        from limner.training.cost import peak
        from limner.training.loop import machine
        from limner.training.world import pick_device

        manifest, subject, request = self.data.manifest, self.subject, self.request
        protocol: dict[str, Any] = {
            "features": eye.name if eye else "none",
            "features' weights": eye.weights_sha256[:16] if eye else "–",
            "resize": _resize(eye) if eye else "–",
            "samples": count,
            "seeds": [request.seed + i for i in range(request.seeds)],
            "reference": f"{reference:,} of {len(self.data):,} ({manifest.split})" if reference else "–",
            "real row": f"{held:,} " + ("of the reference" if halves else self.unseen),
            **({"compared each with each": f"{most:,} of each, balls reach to neighbour {NEIGHBOUR}"} if most else {}),
        }
        speed = None
        if subject.model is not None and self.seen.seconds:
            speed = {
                "images_per_second": self.seen.sampled / self.seen.seconds,
                "batch": min(BATCH, cast("Generate", subject.model.method).at_once),
                "peak_memory_mb": peak(subject.model.method.device) / 1e6 or None,
            }  # fmt: skip
        return {
            "kind": "evaluation", "format": 1, "limner": __version__,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "title": subject.title, "lead": self._lead(rows, count), "names": list(subject.names),
            "columns": (["this model", "real data"] if subject.model else
                        [subject.names[0], f"{subject.names[1]} by itself"]),
            "subject": dict(subject.facts), "data": manifest.model_dump(mode="json"),
            "features": {"name": eye.name, "sha256": eye.weights_sha256} if eye else None,
            "protocol": protocol, "notes": self.notes, "figures": rows, "classes": None,
            "memorisation": self.memory, "discriminator": self.judge_rows, "speed": speed,
            "training": dict(subject.model.header.get("training") or {}) if subject.model else None,
            "machine": machine(pick_device(request.device)), "command": _command(request),
            "seconds": round(time.perf_counter() - self.began, 1),
        }  # fmt: skip

    def _lead(self, rows: list[dict[str, Any]], count: int) -> str:
        from limner.reports.words import measured

        name = self.subject.names[0] if self.subject.model is None else "samples of this model"
        lead = f"{count:,} {name}, beside real {'points' if not self.data.signal.rank else 'pictures'} of "
        lead += f"{self.data.manifest.name}."
        first = rows[0] if rows else None
        if first and first["real"]:
            lead += f" Their {first['name']} is {measured(first)}; "
            lead += f"real ones score {measured(first['real'])} on the same scale."
        return lead.replace(" ± ", "\u00a0±\u00a0")

    def _write(self, record: dict[str, Any], panels: Panels) -> Iterator[Event]:
        from dataclasses import replace

        from limner.reports.evaluation import evaluation_page
        from limner.training.log import read_log

        if self.subject.model is not None:
            panels = replace(panels, log=read_log(self.subject.model.path.parent / "log.jsonl"))
        values = {row["name"]: row["value"] for row in record["figures"]}
        yield from _saved(self.out, evaluation_page(record, panels), record, values)


def _saved(out: Path, page: str, record: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[Event]:
    """Write both files and finish."""
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    html, data = out / "report.html", out / "report.json"
    write(html, page)
    write(data, text)
    yield Saved("report", html)
    yield Finished(
        "evaluate",
        {"report": str(html), "json": str(data), "figures": dict(figures), "seconds": record["seconds"]},
        (shlex.join(["open" if sys.platform == "darwin" else "xdg-open", str(html)]),),
    )


def _command(request: Evaluate) -> str:
    words = ["limner", "evaluate", *request.what]
    for name, value in request.model_dump(mode="json", exclude={"what", "force"}, exclude_unset=True).items():
        if value not in (None, [], ""):
            words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return shlex.join(words)


# --- small things -----------------------------------------------------------------------------------------------------


def _table_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    from limner.reports.evaluation import DIRECTION
    from limner.reports.words import measured

    return (row["name"], measured(row), measured(row["real"]), DIRECTION[row["better"]])


def _panels(found: Mapping[str, Any]) -> Panels:
    from limner.reports.evaluation import Panels

    return Panels(**found)


def _resize(eye: Features) -> str:
    sides = {"digits": 28, "stacked": 28, "efficientnet": 224, "tiny": 16}
    return f"bilinear, antialiased, to {sides[eye.name]} px" if eye.name in sides else "as TensorFlow 1, to 299 px"
