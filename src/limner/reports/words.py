"""Words: numbers as a person reads them."""

from collections.abc import Mapping
from datetime import datetime
from math import floor, inf, isfinite, log10
from typing import Any


def number(value: float | None, digits: int = 3) -> str:
    """A figure to a few significant digits: 7.42, 12,300, 0.00019; – where there is none."""
    if value is None or value != value:
        return "–"
    if not isfinite(value):
        return "∞" if value > 0 else "−∞"
    if value == round(value):
        return _minus(f"{float(f'{value:.{digits}g}'):,.0f}" if abs(value) >= 10**6 else f"{value:,.0f}")
    places = max(0, digits - 1 - floor(log10(abs(value))))
    if places > 6:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{_minus(mantissa)}·10{_raised(int(exponent))}"
    whole = places == 0 and abs(value) >= 10**digits
    return _minus(f"{round(value, digits - 1 - floor(log10(abs(value)))):,.0f}" if whole else f"{value:,.{places}f}")


def measured(figure: Mapping[str, Any] | None) -> str:
    """A figure with its range: 7.42 ± 0.15, with as many places as the range bears; > 1,200 where it has no upper end.

    figure  with "value", and "low" and "high" where there is a range; None in JSON stands for an infinite end
    """
    if figure is None:
        return "–"
    value, low, high = (figure.get(name) for name in ("value", "low", "high"))
    if value is None:
        return f"> {number(low, 2)}" if low is not None else "∞"
    if low is None or high is None or not isfinite(high - low) or high <= low:
        return number(value)
    half = (high - low) / 2
    if max(high - value, value - low) > 1.4 * half:  # too lopsided to be one ±
        return f"{number(value, 2)} ({number(low, 2)} to {number(high, 2)})"
    # One digit of the range, two where it begins with 1; but never more than four digits of the figure.
    first = floor(log10(half))
    places = max(0, -first + (half < 2 * 10**first))
    if value:
        places = max(0, min(places, 3 - floor(log10(abs(value))))) if abs(value) >= 0.01 else places
    if not round(half, places):
        return f"{_minus(f'{value:,.{places}f}')} ± {number(half, 1)}"
    return _minus(f"{value:,.{places}f} ± {half:,.{places}f}")


def finite(value: float | None) -> float | None:
    """The value as JSON can hold it."""
    return None if value is None or not abs(value) < inf else float(value)


def date(iso: str) -> str:
    """'22 November 2026'."""
    day = datetime.fromisoformat(iso)
    return f"{day.day} {day:%B %Y}"


def share(value: float) -> str:
    """A share as a percentage: 93.1 %."""
    return f"{value * 100:.1f} %"


def duration(seconds: float) -> str:
    """'4.2 s', '61 s', '12 min 5 s', '3 h 12 min'."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def times(count: int) -> str:
    """How often: never, once, twice, 3 times."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def plain(value: Any) -> str:
    """A setting's value: 1e-4 as 0.0001, True as yes."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(map(plain, value))
    return str(value)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _raised(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
