"""The run's log: one JSON object a line, and the plot drawn from it."""

import json
from pathlib import Path
from typing import Any

from limner.core.files import atomic, unwritable, write


class Log:
    """RUN/log.jsonl. Lines are appended; resuming drops those of steps after the checkpoint, which are walked again.

    Each line has "event" and, where it belongs to a step, "step". Where the guard goes back to earlier weights, steps
    are counted on, and the log keeps what happened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, event: str, **values: Any) -> None:
        """Append a line. It is handed to the system at once, so a killed process keeps it; a power cut may lose it.

        raises LimnerError   if the disk is full or the place cannot be written
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, **values}) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from None

    def cut(self, step: int) -> None:
        """Forget the steps after `step`, which are about to be walked again."""
        kept = [line for line in read_log(self.path) if line.get("step", 0) <= step]
        write(self.path, "".join(json.dumps(line) + "\n" for line in kept))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a line that a kill cut short is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def plot(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses over the steps into a PNG, with a mark where the guard acted."""
    from matplotlib.figure import Figure

    trained = [line for line in lines if line["event"] == "train"]
    judged = [line for line in lines if line["event"] == "evaluation"]
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = ("#1f6f8b", "#d1495b", "#66a182", "#edae49")
    names = [name for name in (trained[-1] if trained else {}) if name.endswith("_loss")]
    for name, colour in zip(names, colours, strict=False):
        steps = [line["step"] for line in trained if name in line]
        values = [line[name] for line in trained if name in line]
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=colour, linewidth=1.8, label=name.removesuffix("_loss"))
    for line in lines:
        if line["event"] == "guard":
            axes.axvline(line["step"], color="#888888", linestyle=":", linewidth=1)
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if judged:
        other = axes.twinx()
        metric = next(name for name in judged[-1] if name not in ("event", "step"))
        points = [(line["step"], line[metric]) for line in judged if metric in line]
        other.plot(*zip(*points, strict=True), color="#444444", marker="o", markersize=3, linewidth=1, label=metric)
        other.set(ylabel=metric)
        other.set_ylim(bottom=0)
        other.legend(loc="upper right", frameon=False)
    if names:
        axes.legend(loc="upper left", frameon=False)
    with atomic(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def _smooth(values: list[float], window: int = 25) -> list[float]:
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - window] if i >= window else 0.0)
        means.append(total / min(i + 1, window))
    return means
