"""Comparison: the page that sets runs side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.reports import plots
from limner.reports.evaluation import DIRECTION, losses
from limner.reports.page import Html, code, columns, encoded, escape, figure, joined, page, section, table
from limner.reports.words import date as in_words
from limner.reports.words import duration, measured, number, plain

INKS = "abcd"


@dataclass(frozen=True)
class Run:
    """What is known of a run.

    name      what it is called here
    path      its folder
    settings  by dotted names, defaults filled in
    log       the lines of log.jsonl
    training  steps, images, seconds …; of an unfinished run, so far
    report    what its evaluation/report.json holds; None where there is none
    grid      the newest preview's PNG; empty where there is none
    """

    name: str
    path: str
    settings: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    training: Mapping[str, Any]
    report: Mapping[str, Any] | None = None
    grid: bytes = field(default=b"", repr=False)


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, with each run's value; None where a run has no such setting."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def final_losses(run: Run, last: int = 20) -> dict[str, float]:
    """The mean of each loss over the last lines of the log."""
    return {name: values[-1] for name, (_, values) in losses(run.log, window=last).items()}


def comparable(runs: Sequence[Run]) -> bool:
    """Whether the evaluations agree in what their figures depend on."""
    protocols = [(r.report["features"], {k: r.report["protocol"][k] for k in ("samples", "reference", "resize")},
                  r.report["data"]["sha256"]) for r in runs if r.report]  # fmt: skip
    return all(protocol == protocols[0] for protocol in protocols)


def figure_rows(runs: Sequence[Run]) -> list[tuple[str, list[str], str, str]]:
    """Every figure of any report: its name, each run's value, the real data's, and which way is better."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        for row in (run.report or {}).get("figures", ()):
            found.setdefault(row["name"], row)
    rows = []
    for name, any_row in found.items():
        values = [
            measured(next((row for row in (run.report or {}).get("figures", ()) if row["name"] == name), None))
            for run in runs
        ]
        rows.append((name, values, measured(any_row["real"]), DIRECTION[any_row["better"]]))
    return rows


def training_rows(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Steps, time, speed and final losses of each run."""

    def of(name: str) -> list[Any]:
        return [run.training.get(name) for run in runs]

    rows = [
        ("steps done", [f"{n:,}" if n else "–" for n in of("steps")]),
        ("images seen", [f"{n:,}" if n else "–" for n in of("images")]),
        ("time", [duration(s) if s else "–" for s in of("seconds")]),
        ("images/s", [number(run.training["images"] / run.training["seconds"]) if run.training.get("seconds") else "–"
                      for run in runs]),
    ]  # fmt: skip
    ends = [final_losses(run) for run in runs]
    for name in dict.fromkeys(name for end in ends for name in end):
        rows.append((f"{name.replace('_', ' ')} loss at the end", [number(end.get(name)) for end in ends]))
    return rows


def comparison_page(
    runs: Sequence[Run], missing: Mapping[str, str], notes: Sequence[str], date: str, limner: str
) -> str:
    """The page.

    missing  the command that makes a report, for each run that has none
    notes    what to bear in mind
    """
    names = [run.name for run in runs]
    figures = figure_rows(runs)
    return page(
        f"limner · comparison · {in_words(date)}",
        "Side by side",
        f"{', '.join(names[:-1])} and {names[-1]}: what was set differently, how training went, and what came of it.",
        [
            section("The last previews", columns(*(
                figure(encoded(run.grid, f"preview of {run.name}") if run.grid else Html("<p>no preview yet</p>"),
                       f"{run.name}, step {run.training.get('steps', 0):,}") for run in runs))),
            section(
                "Figures",
                table(("figure", *names, "real data", "direction"),
                      [(name, *values, real, better) for name, values, real, better in figures], "side")
                if figures else "",
                Html(f"<ul>{joined(Html(f'<li>{escape(note)}</li>') for note in notes)}</ul>") if notes else "",
                *[joined([Html("<h3>"), f"{name} has not been evaluated yet", Html("</h3>"), code(command)])
                  for name, command in missing.items()],
            ),
            section("Settings that differ",
                    table(("setting", *names), [(name, *map(plain, row)) for name, row in differing(runs).items()],
                          "side")
                    if differing(runs) else Html("<p>None: these runs have the same settings.</p>")),
            section("Training", table(("", *names), [(name, *row) for name, row in training_rows(runs)], "side")),
            *_curves(runs),
        ],
        f"Made by limner {limner}.",
    )  # fmt: skip


def _curves(runs: Sequence[Run]) -> list[Html]:
    """One drawing a loss, with the runs over each other."""
    found = {run.name: losses(run.log) for run in runs}
    names = dict.fromkeys(name for of_run in found.values() for name in of_run)
    drawn = [
        figure(plots.curves(
            [plots.thinned(plots.Line(run.name, *found[run.name][name], INKS[i % len(INKS)]))
             for i, run in enumerate(runs) if name in found[run.name]],
            "step", name.replace("_", " "), height=240,
        )) for name in names
    ]  # fmt: skip
    return [section("Losses over each other", *drawn, says="Averaged over 25 lines of the log.")]
