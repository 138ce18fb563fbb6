"""Ensemble: join trained models, or checkpoints of one run, into a model whose samples come from all of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from limner.core import __version__
from limner.core.errors import UsageError, command
from limner.core.events import Event, Finished, Note, Progress, Saved, Table, Warned
from limner.core.files import refuse_existing
from limner.core.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from limner.data.dataset import Dataset
    from limner.models.ensemble import Rejection
    from limner.models.model import Model


class Ensemble(Settings):
    """Which models, and how they share the work."""

    models: tuple[Path, ...] = Field(min_length=1, max_length=100)
    """Model files or runs; or checkpoints, RUN/checkpoints/step-….safetensors."""
    out: Path = Path("ensemble.safetensors")
    """The new model's file, or a folder for it."""
    weights: Literal["uniform", "kid"] = "uniform"
    """How many samples each makes: all alike, or so that the mixture's kernel distance to held-out data is least."""
    reject: bool = False
    """Let each model's discriminator turn down samples that look made."""
    data: str | None = None
    """The real data for --weights kid and --reject; those that the first model learned from where it is not given."""
    samples: int = Field(default=2000, ge=100, le=100_000)
    """Samples of each model, and real ones, for --weights kid and --reject."""
    seed: int = Field(default=0, ge=0)
    """Of those samples."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the fastest there is."""
    force: bool = False
    """Replace what stands in --out."""

    @field_validator("models", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        """A single path may be given as it is, from Python."""
        return (value,) if isinstance(value, str | Path) else value


_TRIES = 16  # A fifth of the samples have an even chance or better, so hardly any row of 16 is turned down whole.


def ensemble(request: Ensemble) -> Iterator[Event]:
    """Join models, telling events; the last one is Finished.

    raises UsageError   if the models make different things, or one has no discriminator where it is needed
           ModelError, DataError
    """
    out = request.out if request.out.suffix == ".safetensors" else request.out / "model.safetensors"
    refuse_existing(out, request.force)
    from limner.operations.sample import model_file

    for path in request.models:
        # Known before torch is loaded, which takes seconds.
        model_file(path)
    from limner.metrics.mixture import MOST
    from limner.models import ensemble as built
    from limner.models.model import save_model
    from limner.tasks.generate import Captioned, Generate
    from limner.training.world import pick_device

    fits = request.weights == "kid" or request.reject
    if not fits and (vain := {"data", "samples"} & request.model_fields_set):
        raise UsageError(
            f"--{min(vain)} is for --weights kid and --reject", f"leave out --{min(vain)}, or give one of them"
        )
    paths = yield from _trained(request.models)
    if request.weights == "kid" and len(paths) > MOST:
        raise UsageError(f"weights are found for at most {MOST} models, not {len(paths)}", "leave some out")
    models = [_member(path).to(pick_device(request.device)) for path in paths]
    methods: list[Generate] = []
    for model in models:
        if not isinstance(model.method, Generate):
            raise UsageError(f"{model.path} is a model of {model.name}, which does not make things out of noise")
        if isinstance(model.method, Captioned):
            raise UsageError(f"{model.path} makes what captions say, and ensembles take none", "leave it out")
        if model.method.signal.shape != models[0].method.signal.shape:
            raise UsageError(
                f"{models[0].path} makes {models[0].method.signal.describe()}, and {model.path} "
                f"{model.method.signal.describe()}",
                "give models that make the same kind of thing",
            )
        methods.append(model.method)
        known, first = (one.signal.classes if one.conditional else 0 for one in (model.method, methods[0]))
        if known != first:
            raise UsageError(
                f"{model.path} makes {known or 'no'} classes on request, and {models[0].path} {first or 'none'}",
                "give models that learned the same classes, or none that learned any",
            )
        names = [one.header["data"]["classes"] for one in (models[0], model)]
        if known and names[0] != names[1]:
            raise UsageError(
                f"{models[0].path} knows the classes {', '.join(names[0])}, and {model.path} {', '.join(names[1])}",
                "give models that learned the same classes",
            )
        if fits and request.data is None and model.header["training"].get("measured"):
            raise UsageError(
                f"{model.path} learned from data that are measured, and makes clean pictures",
                "give clean pictures to hold them against: --data",
            )
        if request.reject and "measure" in model.header["training"]:
            raise UsageError(
                f"{model.path}'s discriminator knows pictures measured by {model.header['training']['measure']} alone, "
                "and cannot judge clean ones",
                "leave out --reject, or this model",
            )

    shares = [1 / len(models)] * len(models)
    rules: list[Rejection | None] = [None] * len(models)
    distances: dict[str, float] = {}
    if fits:
        shares, rules, distances = yield from _fitted(request, models, methods)
    config = built.EnsembleConfig(
        members=tuple(
            built.Member(method=model.name, config=model.header["config"], sha256=model.sha256, weight=share,
                         rejection=rule)
            for model, share, rule in zip(models, shares, rules, strict=True)
        ),
        tries=_TRIES if request.reject else 1,
    )  # fmt: skip
    # Of members that make no classes, those built for data without any need to be built so again.
    signal = min((method.signal for method in methods), key=lambda one: one.classes)
    joined = built.Ensemble(config, signal, methods)
    training = _training(models) | distances
    if len(learned := _learned(models)) > 1:
        yield Warned(f"the members learned from different data: {', '.join(data['name'] for data in learned)}")
    facts = {"data": models[0].header["data"], "training": training, "card": _card(models, config, training)}
    digest = save_model(out, joined, built.NAME, facts)
    yield Table(
        "members", ("model", "share", "of its samples are accepted"),
        tuple((str(model.path), f"{share:.1%}", "all" if rule is None else f"{_rate(method, rule, request.seed):.0%}")
              for model, method, share, rule in zip(models, methods, shares, rules, strict=True)),
        tuple(f"{name}: {value:.4g}" for name, value in distances.items()),
    )  # fmt: skip
    yield Saved("model", out)
    yield Finished(
        "ensemble", {"model": str(out), "sha256": digest, "weights": shares, **distances},
        (command("sample", out, "--count", 64), command("evaluate", out), command("show", out)),
    )  # fmt: skip


def _trained(paths: Sequence[Path]) -> Generator[Event, None, list[Path]]:
    """Without the checkpoints of a run's start: every run writes one, and step-* names it among the others.

    raises UsageError   if nothing is left
           ModelError   if a checkpoint is none
    """
    from limner.core.tensorfile import read_header
    from limner.training.checkpoint import KIND

    untrained = [path for path in paths if _of_a_run(path) and read_header(path, KIND).get("step") == 0]
    if len(untrained) == len(paths):
        raise UsageError(f"{paths[0]} is from before the first step, and has learned nothing", "give later checkpoints")
    yield from (
        Note(f"{path} is left out: it is from before the first step, and has learned nothing") for path in untrained
    )
    return [path for path in paths if path not in untrained]


def _of_a_run(path: Path) -> bool:
    """Whether a path means a checkpoint that a run goes on from, which is no model file."""
    return path.parent.name == "checkpoints" and path.name != "best.safetensors"


def _member(path: Path) -> Model:
    """A model file, the model of a run, or a checkpoint as a model."""
    from limner.core.tensorfile import read_tensors
    from limner.models.model import Model, load
    from limner.operations.sample import model_file
    from limner.operations.train import read_config, split_choices
    from limner.training.checkpoint import KIND, Checkpoint
    from limner.training.snapshot import classes_come_in, snapshot

    run = path.parent.parent
    if not _of_a_run(path):
        return load(model_file(path))
    settings = read_config(run)
    name = str(settings.pop("method", ""))
    request, config = split_choices(name, settings, str(run / "settings.json"))
    found = Checkpoint(path, *read_tensors(path, KIND))
    if request.transition is not None and classes_come_in(found, request.transition):
        raise UsageError(
            f"{path} is from before its classes were in, which a model file cannot say", "give a later checkpoint"
        )
    method = snapshot(found, name, config)
    header = found.header
    trained = {"steps": header["step"], "images": header["seen"], "seconds": round(header["seconds"], 1),
               "seed": request.seed, "precision": "", "machine": header["machine"],
               "skipped_steps": header["guard"]["skipped"]}  # fmt: skip
    trained |= {name: header[name] for name in ("measure", "measured", "shard", "set_aside") if name in header}
    about = {"method": name, "config": method.config.model_dump(mode="json"), "data": header["data"],
             "sha256": header["sha256"], "training": trained}  # fmt: skip
    return Model(path, about, method)


_Fit = tuple[list[float], "list[Rejection | None]", dict[str, float]]


def _fitted(request: Ensemble, models: list[Model], methods: list[Any]) -> Generator[Event, None, _Fit]:
    """Shares and rules for rejection, found on real data that the models did not learn from, where there are any."""
    import torch

    from limner import features
    from limner.data.sources import open_parts
    from limner.features.network import quantised
    from limner.metrics.figures import real_pictures, suited
    from limner.metrics.kid import kernel
    from limner.metrics.mixture import best_weights, kernel_form, nearness
    from limner.models.ensemble import rejection
    from limner.reports.subject import source_of
    from limner.training.processor import for_heavy_work

    for_heavy_work()
    signal, learned = methods[0].signal, models[0].header["data"]
    source = request.data or source_of(models[0].path, learned)
    shape: dict[str, Any] = {"channels": signal.channels, "fit": learned.get("fit") or "crop"} if signal.rank else {}
    if signal.rank == 2 and signal.size[0] == signal.size[1]:
        shape["size"] = signal.size[0]
    data, held_out = yield from open_parts(source, **shape)
    if data.signal.shape != signal.shape:
        raise UsageError(f"the models make {signal.describe()}, and {source} holds {data.signal.describe()}",
                         "give the --data that they learned from")  # fmt: skip
    if held_out is None:
        yield Note(f"{source} has no test part: what is fitted is fitted to the data that the models learned from")
    real_data: Dataset = held_out or data
    real = torch.cat(list(real_pictures(real_data, request.samples, request.seed)))
    drawn: list[Tensor] = []
    for number, model in enumerate(models):
        z = model.noise(request.samples, request.seed + number)
        drawn.append(methods[number].draw(z))
        yield Progress("sample", number + 1, len(models), "models")

    rules: list[Rejection | None] = [None] * len(models)
    if request.reject:
        for number, method in enumerate(methods):
            # Of real samples it is not known here which class each has.
            scores = [None if method.conditional else method.scored({"x": some}) for some in (real, drawn[number])]
            if scores[0] is None or scores[1] is None:
                raise UsageError(
                    f"{models[number].path} has no discriminator that says how real a sample is without its class"
                    if method.conditional
                    else f"{models[number].path} has no discriminator that says how real a sample is",
                    "leave out --reject, or this model",
                )
            rules[number] = rejection(scores[0], scores[1])
    shares, distances = [1 / len(models)] * len(models), {}
    if request.weights == "kid":

        def seen(x: Tensor) -> Tensor:
            if not signal.rank:
                return x
            return torch.cat([eye(quantised(part).to(device)).cpu() for part in x.split(250)])

        yield from features.fetch(suited(data.manifest))
        device = methods[0].device
        eye = features.load(suited(data.manifest)).to(device)
        with torch.inference_mode():
            within, across, rest = kernel_form(
                [seen(x) for x in drawn], seen(real), kernel if signal.rank else nearness
            )
        weights = best_weights(within, across)
        even = torch.full_like(weights, 1 / len(models))
        shares = weights.tolist()
        distances = {
            f"kernel distance, {name}": float(w @ within @ w - 2 * across @ w + rest)
            for name, w in (("even shares", even), ("fitted shares", weights))
        }
    return shares, rules, distances


def _rate(method: Any, rule: Rejection, seed: int) -> float:
    """The share of a member's samples that is accepted, on fresh ones."""
    import torch

    from limner.core.random import generator

    z = torch.randn(1000, method.latent, generator=generator(seed, "ensemble", "fresh"))
    return float(rule.chance(method.scored({"x": method.draw(z)})).mean())


def _training(models: list[Model]) -> dict[str, Any]:
    """What the members' training comes to."""
    each = [model.header["training"] for model in models]
    measured = sorted({one["measure"] for one in each if "measure" in one})
    sums = {name: sum(one.get(name, 0) for one in each) for name in ("steps", "images", "seconds", "skipped_steps")}
    return {
        **sums, "seed": each[0]["seed"], "precision": each[0]["precision"], "machine": each[0]["machine"],
        "limner": __version__, "members": [str(model.path) for model in models],
        **({"measure": ", ".join(measured)} if measured else {}),
        # A single member's discriminator speaks for it, and must not be asked what others learned.
        **({name: each[0][name] for name in ("shard", "set_aside") if name in each[0]} if len(each) == 1 else {}),
        "learned_from": [
            {name: data.get(name) for name in ("name", "sha256", "licence", "attribution")} for data in _learned(models)
        ],
    }  # fmt: skip


def _learned(models: list[Model]) -> list[dict[str, Any]]:
    """The manifests of what the members learned from, each once."""
    return list({model.header["data"]["sha256"]: model.header["data"] for model in models}.values())


def _card(models: list[Model], config: Any, training: Mapping[str, Any]) -> str:
    """A card that names the members and sends to theirs."""
    learned = _learned(models)
    lines = [
        f"# An ensemble of {len(models)} models trained on {' and '.join(data['name'] for data in learned)}",
        "Each sample is made by one of them" + (", and may be turned down by its discriminator." if config.tries > 1
                                                else "."),
        "",
        *(f"- {member.weight:.1%}: {member.method}, {model.header['training']['steps']:,} steps, {member.sha256}"
          for model, member in zip(models, config.members, strict=True)),
        *([f"- learned from measured pictures: {training['measure']}"] if "measure" in training else []),
        *(f"- licence of {data['name']}: {data.get('licence') or 'not stated'}; attribution: "
          f"{data.get('attribution') or 'not stated'}" for data in learned),
        "- limits: it makes pictures like those its members learned from, with their biases, and nothing else",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
