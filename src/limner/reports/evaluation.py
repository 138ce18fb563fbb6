"""Evaluation: the page about one model, or about one set of pictures beside another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from limner.metrics.figures import KINDS
from limner.models.card import computer
from limner.reports import plots
from limner.reports.page import (
    Html,
    code,
    columns,
    escape,
    facts,
    figure,
    joined,
    page,
    section,
    sheet,
    table,
)
from limner.reports.words import date, duration, flat, measured, number, plain, share

DIRECTION = {"lower": "↓ lower is better", "higher": "↑ higher is better", "near": "→ near the real row"}
"""Which way a figure should go, in words."""
_HEADLINES = ("fd", "is", "coverage", "precision", "energy", "high_quality", "modes", "mode_kl", "kd", "recall")
_SHARES = {"precision", "recall", "coverage", "high_quality", "copying"}


@dataclass(frozen=True)
class Panels:
    """What there is to look at. Whatever is empty leaves its part of the page out.

    samples    (N, C, H, W)  uint8
    real       (N, C, H, W)  real ones beside them
    walks      (rows, steps, C, H, W)  from one noise to another
    classes    name, and samples (N, C, H, W) that were taken for it
    nearest    samples (N, C, H, W), their nearest real pictures (N, C, H, W), and the distances: the closest pairs
    random     the same for pairs of the first samples
    distances  of samples and of unseen real pictures to the nearest training picture
    logits     of the discriminator: training pictures, unseen ones (may be empty), samples
    points     samples and real points, where the data are points
    """

    samples: np.ndarray | None = None
    real: np.ndarray | None = None
    walks: np.ndarray | None = None
    classes: Sequence[tuple[str, np.ndarray]] = ()
    nearest: tuple[np.ndarray, np.ndarray, Sequence[float]] | None = None
    random: tuple[np.ndarray, np.ndarray, Sequence[float]] | None = None
    distances: tuple[Sequence[float], Sequence[float]] | None = None
    logits: tuple[Sequence[float], Sequence[float], Sequence[float]] | None = None
    points: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]] | None = None
    log: Sequence[Mapping[str, Any]] = field(default=())


def evaluation_page(record: Mapping[str, Any], panels: Panels) -> str:
    """The page of an evaluation.

    record  what report.json holds
    panels  the pictures, and the numbers behind the plots
    """
    return page(
        f"limner · evaluation · {date(record['date'])}",
        record["title"],
        record["lead"],
        [
            _headlines(record),
            _gallery(record, panels),
            _figures(record),
            _classes(record, panels),
            _walks(panels),
            _copying(record, panels),
            _discriminator(record, panels),
            _training(record, panels),
            _speed(record),
            _protocol(record),
            _settings(record),
        ],
        f"Made by limner {record['limner']}. The same content for programs: report.json beside this page.",
    )


def _headlines(record: Mapping[str, Any]) -> Html:
    by_kind = {row["kind"]: row for row in record["figures"]}
    chosen = [by_kind[kind] for kind in _HEADLINES if kind in by_kind][:4]
    return Html(f'<div class="cards">{joined(map(_card, chosen))}</div>') if chosen else Html("")


def _card(row: Mapping[str, Any]) -> Html:
    value, _, wide = measured(row).partition(" ± ")
    spread = f"<small>± {escape(wide)}</small>" if wide else ""
    real = f'<p class="real">real data <b>{escape(measured(row["real"]))}</b></p>' if row["real"] else ""
    arrow = DIRECTION[row["better"]].split()[0]
    return Html(
        f'<div class="card"><p class="name">{escape(row["name"])} {arrow}</p><p class="value">{escape(value)}{spread}'
        f'</p>{real}<p class="words">{escape(row["says"])}</p></div>'
    )


def _gallery(record: Mapping[str, Any], panels: Panels) -> Html:
    if panels.points is not None:
        fake, real = panels.points
        drawn = plots.scatter([("real", "a", real), ("samples", "b", fake)])
        both = columns(
            figure(plots.scatter([("samples", "b", fake)]), f"{len(fake):,} samples"),
            figure(plots.scatter([("real", "a", real)]), f"{len(real):,} real points"),
            kind="pair",
        )
        return section("Samples and real points", both) if drawn else Html("")
    if panels.samples is None or panels.real is None:
        return Html("")
    left, right = record["names"]
    return section(
        f"{left[:1].upper()}{left[1:]}, and {right}",
        columns(
            figure(sheet(panels.samples, alt=left), f"{left}: the first {len(panels.samples)}, not chosen"),
            figure(sheet(panels.real, alt=right), f"{right}: {len(panels.real)} at random"),
            kind="pair",
        ),
    )


def _figures(record: Mapping[str, Any]) -> Html:
    def where(row: Mapping[str, Any]) -> Any:
        if row["kind"] not in _SHARES or row["value"] is None:
            return ""
        real = row["real"] and row["real"]["value"]
        return plots.between(row["value"], row["low"], row["high"], real)

    rows = [
        (row["name"], where(row), measured(row), measured(row["real"]), DIRECTION[row["better"]], row["says"])
        for row in record["figures"]
    ]
    # The value stands before the little drawing: it is what is read.
    shown = [
        (name, joined([value, " ", drawing]), real, better, says) for name, drawing, value, real, better, says in rows
    ]
    mine, theirs = record["columns"]
    return section(
        "Every figure",
        table(("figure", mine, theirs, "direction", "what it says"), shown, "figures"),
        _notes(record["notes"]),
        says="No honest model is much better than real pictures are: read each figure beside the column of real ones. "
        "In the small drawings the dot is the model and the tick is real.",
    )


def _notes(lines: Sequence[str]) -> Html:
    return Html(f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>") if lines else Html("")


def _classes(record: Mapping[str, Any], panels: Panels) -> Html:
    found = record["classes"]
    if not found or not panels.classes:
        return Html("")
    total, real_total = sum(found["samples"]) or 1, sum(found["real"]) or 1
    widest = max(len(pictures) for _, pictures in panels.classes) or 1
    rows = []
    for (name, pictures), made, real in zip(panels.classes, found["samples"], found["real"], strict=True):
        strip = sheet(pictures, across=len(pictures), alt=f"samples read as {name}") if len(pictures) else "none"
        # A row with few samples would otherwise be drawn larger than the others.
        sized = Html(f'<div style="width:{len(pictures) / widest:.1%}">{strip}</div>') if len(pictures) else strip
        rows.append((name, sized, f"{share(made / total)} ({share(real / real_total)})"))
    return section(
        "Class by class",
        table(("", "", "samples (real)"), rows, "classes"),
        says="Samples by what the network reads in them, with the share of each class. A class that is rare here and "
        "common in the data is one that the generator neglects.",
    )


def _walks(panels: Panels) -> Html:
    if panels.walks is None:
        return Html("")
    rows, steps = panels.walks.shape[:2]
    strip = sheet(panels.walks.reshape(rows * steps, *panels.walks.shape[2:]), across=steps, alt="walks")
    return section(
        "From one noise to another",
        figure(strip),
        says="Each row walks between two random points of the noise. A generator that has learned shapes changes them "
        "smoothly; one that has learned pictures by heart jumps.",
    )


def _copying(record: Mapping[str, Any], panels: Panels) -> Html:
    found = record["memorisation"]
    if not found or panels.nearest is None or panels.random is None:
        return Html("")
    mine, theirs = record["names"]
    pairs = [
        figure(_pairs(*panels.nearest), f"The closest pairs. Above: {mine}; below: the nearest of {theirs}."),
        figure(_pairs(*panels.random), f"The first {len(panels.random[0])}, not chosen, in the same form."),
    ]
    drawn: Any = ""
    if panels.distances is not None:
        drawn = figure(
            plots.histograms(
                [(found["natural"], "a", panels.distances[1]), (mine, "b", panels.distances[0])],
                "distance to the nearest, over pixels",
            ),
            found["sentence"],
        )
    return section(
        "Is it copying?",
        *pairs,
        drawn,
        says="For each sample the nearest training picture, by pixels. Pairs of the same picture mean that it was "
        "learnt by heart.",
    )


def _pairs(above: np.ndarray, below: np.ndarray, _: Sequence[float]) -> Html:
    both = np.concatenate([above, below]) if above.shape[1:] == below.shape[1:] else above
    return sheet(both, across=len(above), alt="samples above, nearest real pictures below")


def _discriminator(record: Mapping[str, Any], panels: Panels) -> Html:
    found = record["discriminator"]
    if not found or panels.logits is None:
        return Html("")
    rows = [
        (row["name"], joined([measured(row), " ", plots.between(row["value"], row["low"], row["high"], None)])
         if row["share"] else measured(row), row["says"])
        for row in found["rows"]
    ]  # fmt: skip
    train, unseen, fake = panels.logits
    sets = [
        (next(iter(found["counts"])), "a", train),
        *([("unseen", "c", unseen)] if unseen else []),
        ("samples", "b", fake),
    ]
    curve = found["calibration"]
    sides = f"score ({'logit' if curve else 'no log-odds'}): left of 0 it says fake, right of 0 real"
    if not found["level"]:
        sides = "score: the higher, the more real; there is no level at which real begins"
    shown = [
        figure(
            plots.histograms(sets, sides, width=620, height=250),
            "Scores that it gives. Where the colours lie on each other it can't tell.",
        )
    ]
    if curve:
        calibration = plots.calibration(curve["said"], curve["true"], curve["weight"])
        caption = "When it says 80 %, is it right 8 times of 10? On the dotted line it knows itself."
        shown.append(figure(calibration, caption))
    return section(
        "The discriminator",
        table(("", "", ""), rows, "figures judge"),
        columns(*shown, kind="lopsided"),
        says="How well the judge that the generator learned from tells real from made, as it stood at the end of "
        "training. At the end of a good game it can hardly tell; then look at the samples too, for a judge that never "
        "learned can't tell either.",
    )  # fmt: skip


def losses(log: Sequence[Mapping[str, Any]], window: int = 25) -> dict[str, tuple[list[float], list[float]]]:
    """Each loss of a log by its name: the steps, and its mean over the last `window` lines at each."""
    trained = [line for line in log if line.get("event") == "train"]
    found = {}
    for name in (name for name in (trained[-1] if trained else {}) if name.endswith("_loss")):
        steps = [line["step"] for line in trained if name in line]
        values = [float(line[name]) for line in trained if name in line]
        found[name.removesuffix("_loss")] = (steps, plots.smooth(values, window))
    return found


def loss_curves(log: Sequence[Mapping[str, Any]]) -> Html:
    """The losses over the steps, with a mark where the guard acted."""
    raw, smooth = losses(log, window=1), losses(log)
    lines = []
    for name, ink in zip(raw, "abcd", strict=False):
        lines.append(plots.thinned(plots.Line(name, *raw[name], ink, faint=True)))
        lines.append(plots.thinned(plots.Line(name.replace("_", " "), *smooth[name], ink)))
    marks = [(line["step"], str(line.get("action", ""))) for line in log if line.get("event") == "guard"]
    return plots.curves(lines, "step", "loss", marks=marks)


def evaluation_curves(log: Sequence[Mapping[str, Any]]) -> Html:
    """The first figure of each evaluation during training, over the steps."""
    judged = [line for line in log if line.get("event") == "evaluation"]
    name = next((name for line in judged for name in line if name not in ("event", "step")), None)
    points = (
        [(line["step"], float(line[name])) for line in judged if isinstance(line.get(name), int | float)]
        if name
        else []
    )
    if not points:
        return Html("")
    x, y = zip(*points, strict=True)
    return plots.curves([plots.Line(str(name), x, y, "c", dots=True)], "step", str(name), height=200)


def _training(record: Mapping[str, Any], panels: Panels) -> Html:
    training = record["training"]
    if not training:
        return Html("")
    curves, judged = loss_curves(panels.log), evaluation_curves(panels.log)
    return section(
        "Training",
        facts(_training_facts(training)),
        figure(curves, "Losses of the players, averaged over the last 25 lines of the log. In a game neither has to "
               "fall: what counts is that they stay in reach of each other.") if curves else "",
        figure(judged, "Evaluated during training on fewer samples: compare within this curve only.") if judged else "",
    )  # fmt: skip


def _training_facts(training: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "steps" in training:
        found["steps"] = f"{training['steps']:,}"
    if "images" in training:
        found["images seen"] = f"{training['images']:,}"
    if training.get("seconds"):
        found["time"] = duration(training["seconds"])
    if "seed" in training:
        found["seed"] = training["seed"]
    found["precision"] = training.get("precision", "–")
    return found


def _speed(record: Mapping[str, Any]) -> Html:
    speed, machine = record["speed"], record["machine"]
    if not speed:
        return Html("")
    training = record["training"] or {}
    there = training.get("machine") or {}
    learned = {
        "speed": f"{number(training['images'] / training['seconds'])} images/s, previews and evaluations included"
        if training.get("seconds") and "images" in training else "",
        "peak memory": f"{training['peak_memory_mb']:,.0f} MB" if training.get("peak_memory_mb") else "",
        "machine": there and computer(there),
        "torch": there.get("torch", ""),
    }  # fmt: skip
    learned = {name: value for name, value in learned.items() if value}
    return section(
        "Speed and memory",
        Html("<h3>Sampling</h3>"),
        facts(
            {
                "speed": f"{number(speed['images_per_second'])} images/s",
                "batch": speed["batch"],
                "peak memory": f"{speed['peak_memory_mb']:,.0f} MB" if speed["peak_memory_mb"] else "–",
                "machine": computer(machine),
                "torch": machine["torch"],
                "the whole evaluation": duration(record["seconds"]),
            }
        ),
        Html("<h3>Training</h3>") if learned else "",
        facts(learned) if learned else "",
        says="Measured while the page was made and while the model was trained, with whatever else the machine was "
        "doing at the time.",
    )


def _protocol(record: Mapping[str, Any]) -> Html:
    protocol, data = record["protocol"], record["data"]
    rows = {
        "data": data["name"],
        "source": data["source"] or "–",
        "licence": data["licence"] or "not stated",
        "attribution": data["attribution"] or "not stated",
    }
    return section(
        "How this was measured",
        facts({name: plain(value) for name, value in protocol.items()}),
        facts(rows),
        _notes(["Figures are comparable only where features, their weights, all counts and the resize agree."]),
    )


def _settings(record: Mapping[str, Any]) -> Html:
    subject = record["subject"]
    described = {name: plain(value) for name, value in flat(subject.get("settings") or {}).items()}
    return section(
        "To make this page again",
        code(record["command"]),
        Html("<h3>Settings of the model</h3>") if described else "",
        facts(described) if described else "",
        facts({name: subject[name] for name in ("path", "sha256") if subject.get(name)}),
    )


def says(kind: str) -> str:
    """A figure's one line in plain words."""
    return KINDS[kind].says
