"""Plots: small drawings as inline SVG, in the page's own type and colours, light and dark."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from limner.reports.page import Html, escape
from limner.reports.words import number

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 12, 34


@dataclass(frozen=True)
class Line:
    """A curve.

    name    for the legend
    x, y    as many of each; values that are not finite are left out
    ink     a colour of the page: a, b, c, d
    faint   drawn thin, behind
    dots    a dot at each value
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    ink: str = "a"
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Frame:
    """Where values lie on the drawing."""

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> str:
        """A point's place as SVG writes it."""
        return f"{self.right(x):.1f},{self.down(y):.1f}"

    def right(self, x: float) -> float:
        """Distance from the left edge."""
        return _LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - _LEFT - _RIGHT)

    def down(self, y: float) -> float:
        """Distance from the top edge."""
        return _TOP + (self.y[1] - y) / (self.y[1] - self.y[0]) * (self.height - _TOP - _BOTTOM)


def curves(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    marks: Iterable[tuple[float, str]] = (),
    y_range: tuple[float, float] | None = None,
    width: int = 976,
    height: int = 320,
) -> Html:
    """Curves over a shared axis, with a legend.

    marks    places on the x axis with a word, e.g. where the guard acted
    y_range  what the y axis spans; from the thick lines where it is not given
    """
    thick = [line for line in lines if not line.faint] or list(lines)
    xs = [x for line in lines for x in line.x]
    ys = sorted(y for line in thick for y in line.y if isfinite(y))
    if not xs or not ys:
        return Html("")
    low, high = y_range or (min(0.0, ys[0]), ys[-1])
    frame = Frame(width, height, _span(min(xs), max(xs)), _span(low, high + (0 if y_range else 0.05 * (high - low))))
    parts = [_axes(frame, x_label, y_label)]
    for at, word in marks:
        place = frame.right(at)
        parts.append(f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
                     f'<text class="tick" x="{place + 3:.1f}" y="{_TOP + 9}">{escape(word)}</text>')  # fmt: skip
    for line in lines:
        points = " ".join(frame.at(x, min(max(y, frame.y[0]), frame.y[1]))
                          for x, y in zip(line.x, line.y, strict=True) if isfinite(y))  # fmt: skip
        parts.append(f'<polyline class="line ink-{line.ink}{" faint" if line.faint else ""}" points="{points}"/>')
        if line.dots or len(line.x) == 1:  # One point makes no line.
            parts += [f'<circle class="fill-{line.ink}" r="2.6" cx="{x}" cy="{y}"/>'
                      for x, y in (point.split(",") for point in points.split())]  # fmt: skip
    return _drawing(frame, parts, ((line.name, line.ink) for line in thick))


def histograms(
    sets: Sequence[tuple[str, str, Sequence[float]]], x_label: str, *, bins: int = 40, width: int = 976,
    height: int = 260,
) -> Html:  # fmt: skip
    """Distributions over each other, each with the same area.

    sets  name, ink and values of each
    """
    every = sorted(x for _, _, values in sets for x in values if isfinite(x))
    if len(every) < 2:
        return Html("")
    # The outermost half per cent would squeeze the rest.
    low, high = _span(every[len(every) // 200], every[-1 - len(every) // 200])
    step = (high - low) / bins
    heights: list[list[float]] = []
    for _, _, values in sets:
        counts = [0.0] * bins
        for x in values:
            if low <= x <= high:
                counts[min(bins - 1, int((x - low) / step))] += 1 / max(1, len(values))
        heights.append(counts)
    frame = Frame(width, height, (low, high), (0, max(map(max, heights)) * 1.08 or 1))
    parts = [_axes(frame, x_label, "", y_ticks=False)]
    for (_, ink, _), counts in zip(sets, heights, strict=True):
        outline = [frame.at(low, 0)]
        for i, count in enumerate(counts):
            outline += [frame.at(low + i * step, count), frame.at(low + (i + 1) * step, count)]
        outline.append(frame.at(high, 0))
        parts.append(f'<polygon class="area ink-{ink} fill-{ink}" points="{" ".join(outline)}"/>')
    return _drawing(frame, parts, ((name, ink) for name, ink, _ in sets))


def calibration(
    said: Sequence[float | None],
    true: Sequence[float | None],
    weight: Sequence[float],
    *,
    width: int = 300,
    height: int = 260,
) -> Html:
    """How often a judge was right, over how sure it said it was; the diagonal is a judge that knows itself.

    said, true  None where a bin is empty
    """
    frame = Frame(width, height, (0, 1), (0, 1))
    known = [(s, t, w) for s, t, w in zip(said, true, weight, strict=True) if s is not None and t is not None]
    top = max((w for *_, w in known), default=1)
    parts = [
        _axes(frame, "it says: real, with probability", "share that is real"),
        f'<polyline class="line mark" points="{frame.at(0, 0)} {frame.at(1, 1)}"/>',
        f'<polyline class="line ink-a" points="{" ".join(frame.at(s, t) for s, t, _ in known)}"/>',
    ]
    for s, t, w in known:
        x, y = frame.at(s, t).split(",")
        parts.append(f'<circle class="fill-a" r="{2 + 5 * (w / top) ** 0.5:.1f}" cx="{x}" cy="{y}"/>')
    return _drawing(frame, parts, ())


def scatter(sets: Sequence[tuple[str, str, Sequence[Sequence[float]]]], *, side: int = 470) -> Html:
    """Points in [-1, 1]², one colour a set."""
    frame = Frame(side, side, (-1, 1), (-1, 1))
    parts = [_axes(frame, "", "")]
    for _, ink, points in sets:
        dots = "".join(f"M{frame.at(x, y)}h0" for x, y, *_ in points)
        parts.append(f'<path class="dots ink-{ink}" d="{dots}"/>')
    return _drawing(frame, parts, ((name, ink) for name, ink, _ in sets))


def between(value: float, low: float | None, high: float | None, real: float | None) -> Html:
    """Where a share lies between 0 and 1: a dot with its range, and a tick for real pictures."""
    width, middle = 120, 8

    def right(x: float) -> float:
        return 4 + min(1.0, max(0.0, x)) * (width - 8)

    parts = [f'<line class="rule" x1="4" x2="{width - 4}" y1="{middle}" y2="{middle}"/>']
    if real is not None:
        parts.append(f'<line class="real" x1="{right(real):.1f}" x2="{right(real):.1f}" y1="1" y2="15"/>')
    if low is not None and high is not None:
        parts.append(f'<line class="range" x1="{right(low):.1f}" x2="{right(high):.1f}" y1="{middle}" y2="{middle}"/>')
    parts.append(f'<circle class="fill-b" r="3.4" cx="{right(value):.1f}" cy="{middle}"/>')
    return Html(f'<svg class="between" viewBox="0 0 {width} 16" width="{width}" height="16" role="img" '
                f'aria-label="{number(value)} between 0 and 1">{"".join(parts)}</svg>')  # fmt: skip


def smooth(values: Sequence[float], window: int = 25) -> list[float]:
    """The mean of the last few values, at each."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - window] if i >= window else 0.0)
        means.append(total / min(i + 1, window))
    return means


def thinned(line: Line, most: int = 600) -> Line:
    """The same curve with fewer points, for a page of a bounded size."""
    step = max(1, -(-len(line.x) // most))
    return Line(line.name, line.x[::step], line.y[::step], line.ink, line.faint, line.dots)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two ends."""
    raw = (high - low) / most
    unit: float = 10.0 ** floor(log10(raw))
    step = unit * next(k for k in (1, 2, 5, 10) if unit * k >= raw * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _span(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high - low > 1e-12 else (low - 0.5, high + 0.5)


def _axes(frame: Frame, x_label: str, y_label: str, y_ticks: bool = True) -> str:
    right, bottom = frame.width - _RIGHT, frame.height - _BOTTOM
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
    for x in ticks(*frame.x):
        parts.append(f'<text class="tick" text-anchor="middle" x="{frame.right(x):.1f}" y="{bottom + 14}">'
                     f"{_short(x)}</text>")  # fmt: skip
    for y in ticks(*frame.y, most=5) if y_ticks else ():
        down = frame.down(y)
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{right}" y1="{down:.1f}" y2="{down:.1f}"/>'
                     f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{down + 3.5:.1f}">'
                     f"{_short(y)}</text>")  # fmt: skip
    middle = (_TOP + bottom) / 2
    parts.append(f'<text class="label" text-anchor="end" x="{right}" y="{frame.height - 3}">{escape(x_label)}</text>')
    parts.append(f'<text class="label" text-anchor="middle" transform="translate(11 {middle:.0f}) rotate(-90)">'
                 f"{escape(y_label)}</text>")  # fmt: skip
    return "".join(parts)


def _short(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 9):g}").replace("-", "−")


def _drawing(frame: Frame, parts: Iterable[str], legend: Iterable[tuple[str, str]]) -> Html:
    words = "".join(f'<span><i class="key-{ink}"></i>{escape(name)}</span>' for name, ink in legend)
    key = f'<div class="legend">{words}</div>' if words else ""
    return Html(f'<div class="plot">{key}<svg viewBox="0 0 {frame.width} {frame.height}" role="img">'
                f"{''.join(parts)}</svg></div>")  # fmt: skip
