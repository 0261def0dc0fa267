"""HTML pages that need nothing else: no script, no font, no picture, no network.

Pure: values in, text out. Plots are SVG; pages show numbers and names, never pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from veilbox.core.errors import printable

# Of every plot, in units of its own.
WIDTH = 720
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1a202c}
table{border-collapse:collapse;margin:.7em 0}td,th{padding:.15em .8em .15em 0;text-align:right}
td:first-child,th:first-child{text-align:left}th{border-bottom:1px solid #a0aec0;font-weight:600}
svg{display:block;margin:.4em 0 1em}h2{margin-top:2em;overflow-wrap:anywhere}small{color:#4a5568}
.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
"""
# Nothing may be loaded, whatever a file name contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: Any text.
        parts: HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def svg(height: int, inner: str) -> str:
    """A drawing of `WIDTH` times `height`."""
    return f'<svg role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">{inner}</svg>'


def figure(words: str, drawn: str) -> str:
    """A drawing and what it shows."""
    return f"<figure><figcaption>{escape(words)}</figcaption>{drawn}</figure>"


def table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; cells are any text."""
    head = "".join(f"<th>{text(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def number(value: Any) -> str:
    """A number in four digits."""
    return f"{float(value):.4g}"


def text(value: Any) -> str:
    """Escaped; control characters and undecodable bytes of file names are spelled out."""
    return escape(printable(str(value)))
