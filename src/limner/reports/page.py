"""Page: one self-contained HTML file. Everything that is not marked as Html is escaped."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.data.images import grid, to_image

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escape(value: Any) -> Html:
    """Anything as markup: text from files is harmless after this."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def joined(parts: Iterable[Any], between: str = "") -> Html:
    """Parts one after the other."""
    return Html(between.join(escape(part) for part in parts))


def page(eyebrow: str, title: str, lead: Any, parts: Iterable[Html], foot: Any = "") -> str:
    """A whole page.

    eyebrow  a small line above the title
    lead     what the page says, in a sentence or two
    parts    sections
    foot     a small line at the end
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is fetched and nothing runs, whatever a file's name may hold.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f'<body><main><header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1>'
        f'<p class="lead">{escape(lead)}</p></header>{joined(parts)}'
        f"<footer>{escape(foot)}</footer></main></body></html>\n"
    )


def section(title: str, *parts: Any, says: Any = "", wide: bool = False) -> Html:
    """A part of the page with its heading; parts that are empty are left out, and so is a section of none."""
    shown = [part for part in parts if part]
    if not shown:
        return Html("")
    intro = f'<p class="says">{escape(says)}</p>' if says else ""
    kind = ' class="wide"' if wide else ""
    return Html(f"<section{kind}><h2>{escape(title)}</h2>{intro}{joined(shown)}</section>")


def columns(*parts: Any, kind: str = "columns") -> Html:
    """Parts side by side where there is room."""
    return Html(f'<div class="{kind}">{joined(f for f in parts if f)}</div>')


def figure(content: Any, caption: Any = "") -> Html:
    """Something to look at, and what it is."""
    if not content:
        return Html("")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return Html(f"<figure>{escape(content)}{below}</figure>")


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], kind: str = "") -> Html:
    """A table; the first cell of a row is its name."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return Html(f'<div class="scroll"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>')


def facts(values: Mapping[str, Any]) -> Html:
    """Names and values, small."""
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items())
    return Html(f'<dl class="facts">{pairs}</dl>')


def code(text: str) -> Html:
    """A command as one types it."""
    return Html(f"<pre><code>{escape(text)}</code></pre>")


def sheet(pictures: np.ndarray, across: int | None = None, alt: str = "", side: int = 64) -> Html:
    """Pictures side by side as one image inside the page.

    pictures  (N, C, H, W)  uint8
    across    pictures in a row; about square where it is not given
    alt       what they show, for those who can't see them
    side      larger pictures are made this small, so that the page stays light
    """
    if not len(pictures):
        return Html("")
    height, width = pictures.shape[2:]
    if max(height, width) > side:
        scale = side / max(height, width)
        to = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = [np.asarray(to_image(p).resize(to, Image.Resampling.LANCZOS)) for p in pictures]
        pictures = np.stack([s[None] if s.ndim == 2 else s.transpose(2, 0, 1) for s in small])
    page_of = grid(pictures, across, gap=1)
    return image(page_of, alt, pixels=max(height, width) <= side)


def image(picture: np.ndarray, alt: str = "", pixels: bool = True) -> Html:
    """One picture inside the page.

    picture  (C, H, W)  uint8
    pixels   shown with hard pixels when enlarged
    """
    buffer = io.BytesIO()
    to_image(picture).save(buffer, "PNG", optimize=True)
    return encoded(buffer.getvalue(), alt, pixels)


def encoded(png: bytes, alt: str = "", pixels: bool = True) -> Html:
    """A PNG's bytes inside the page."""
    data = base64.b64encode(png).decode()
    kind = ' class="pixels"' if pixels else ""
    return Html(f'<img{kind} alt="{escape(alt)}" src="data:image/png;base64,{data}">')
