"""Bytes -> documents: YAML and JSON, with positions and within bounds.

YAML is read event by event, so a bomb is refused before anything large exists: aliases count as what they repeat. No
tag makes an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from veilbox.core.errors import UsageError
from veilbox.scan.tree import Entry, Node, Scalar

# Kubernetes' API server takes at most 3 MiB (etcd 1.5 MiB); docker's config.json is about 30 KiB.
MAX_BYTES = 4 << 20
# An OCI config.json is 6 levels deep, a CronJob's deepest field about 20.
MAX_DEPTH = 64
# A Compose file of a hundred services has some ten thousand values.
MAX_VALUES = 200_000
# Beside ten thousand manifests in one file nobody finds anything.
MAX_DOCUMENTS = 10_000

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
# YAML 1.1, as Kubernetes reads it, but for single letters, which are names more often than answers; Compose takes the
# same words where it wants a boolean.
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
# Not YAML 1.1's base 60, which makes a number of the port mapping 22:22; neither Compose nor Kubernetes knows it.
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)\Z")
_LONGEST_INTEGER = 40
_SURROGATES = re.compile(r"\\(?:u(?P<high>[dD][89abAB]\w\w)\\u(?P<low>[dD][c-fC-F]\w\w)|.)")

_Events = Iterator[yaml.Event]


def parse(data: bytes) -> tuple[Node, ...]:
    """The documents of a file.

    Args:
        data: YAML (one or several documents) or JSON, in UTF-8.

    Returns:
        The documents that are not empty.

    Raises:
        UsageError: It is neither, a key stands twice in one mapping, or it exceeds a bound.
    """
    if len(data) > MAX_BYTES:
        raise UsageError("too large to be configuration", expected=f"at most {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError("not text in UTF-8", actual=f"byte {error.start} is no character") from error
    try:
        events = yaml.parse(_as_yaml(text), Loader=yaml.CSafeLoader)
        return tuple(_Composer(events).documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise UsageError(
            "neither YAML nor JSON",
            actual=f"line {mark.line + 1}: {error.problem}" if mark else str(error.problem),
        ) from error
    except yaml.YAMLError as error:
        raise UsageError("neither YAML nor JSON", actual=str(error).splitlines()[0]) from error


def _as_yaml(text: str) -> str:
    """JSON as YAML takes it: without tabs, which in JSON stand outside strings only, and without surrogate pairs."""
    if text.lstrip()[:1] not in {"{", "["} or not ("\t" in text or _SURROGATES.search(text)):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _SURROGATES.sub(_character, text.replace("\t", " "))


def _character(escape: re.Match[str]) -> str:
    """The YAML escape for a pair; another escape, a backslash's own among them, stays."""
    if escape["high"] is None:
        return escape[0]
    return f"\\U{0x10000 + ((int(escape['high'], 16) & 0x3FF) << 10) + (int(escape['low'], 16) & 0x3FF):08x}"


class _Composer:
    """Events -> nodes."""

    def __init__(self, events: _Events) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._values = 0

    def documents(self) -> Iterator[Node]:
        count = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > MAX_DOCUMENTS:
                    raise UsageError("too many documents in one file", expected=f"at most {MAX_DOCUMENTS}")
                self._anchors = {}
                node = self._node(next(self._events), 0)
                if node.value is not None:
                    yield node

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise UsageError("nested too deeply", where=_line(event), expected=f"at most {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(1, event)
        node = self._made(event, depth)
        anchor = getattr(event, "anchor", None)
        if anchor:
            self._anchors[anchor] = node
        return node

    def _made(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(event, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            return Node(_scalar(event), *_position(event))
        raise UsageError("not YAML", where=_line(event), actual=type(event).__name__)

    def _alias(self, event: yaml.AliasEvent) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise UsageError("an alias of nothing, or of itself", where=_line(event), actual=f"*{event.anchor}")
        self._count(node.weight, event)
        return node

    def _count(self, values: int, event: yaml.Event) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise UsageError("too many values, aliases counted", where=_line(event), expected=f"at most {MAX_VALUES}")

    def _sequence(self, start: yaml.SequenceStartEvent, depth: int) -> Node:
        nodes = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            nodes.append(self._node(event, depth + 1))
        return Node(tuple(nodes), *_position(start), 1 + sum(node.weight for node in nodes))

    def _mapping(self, start: yaml.MappingStartEvent, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise UsageError("a key must be text", where=_line(key))
            node = self._node(next(self._events), depth + 1)
            if key.value == "<<" and key.implicit[0]:
                merged.append(node)
            elif key.value in entries:
                # Readers disagree about which of the two counts.
                raise UsageError("the same key twice", where=_line(key), actual=key.value)
            else:
                entries[key.value] = Entry(node, *_position(key))
        for node in merged:
            self._merge(entries, node, start)
        weight = 1 + sum(entry.node.weight for entry in entries.values())
        return Node(entries, *_position(start), weight)

    def _merge(self, entries: dict[str, Entry], node: Node, event: yaml.Event) -> None:
        """YAML 1.1's merge key: own keys win, then those of the mappings in their order."""
        for source in node.value if isinstance(node.value, tuple) else (node,):
            if not isinstance(source.value, dict):
                raise UsageError("only mappings can be merged", where=_line(event), actual="<<")
            for key, entry in source.value.items():
                entries.setdefault(key, entry)


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    if not event.implicit[0]:
        return event.value if not (event.tag or "").endswith(":null") else None
    if event.value in _NULL:
        return None
    if event.value in _TRUE or event.value in _FALSE:
        return event.value in _TRUE
    if _INTEGER.match(event.value) and len(event.value) < _LONGEST_INTEGER:
        return _integer(event.value)
    return str(event.value)


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    unsigned = digits.lstrip("+-")
    octal = len(unsigned) > 1 and unsigned[0] == "0" and unsigned[1].isdigit()
    return int(digits, 8) if octal else int(digits, 0)


def _position(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _line(event: yaml.Event) -> str:
    return f"line {_position(event)[0]}"
