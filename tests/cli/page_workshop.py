"""Reads a page as strictly as a page of ours must be written."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "rect", "line", "polyline"}
HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\udc80.mp4"


class Reader(HTMLParser):
    """Requires that what is opened is closed, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.extend(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def require_nothing_else(page: str) -> None:
    """A page must load nothing."""
    reader = read(page)
    assert not reader.tags & {"script", "img", "link", "iframe", "object", "embed", "image", "audio", "video", "a"}
    assert not {name for name, _ in reader.attributes} & {"src", "href", "xlink:href", "data", "onload"}
    assert not re.search(r"https?:|url\(|@import|base64", page)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in reader.attributes
