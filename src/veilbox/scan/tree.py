"""A parsed document whose every value knows where it stands in its file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Scalar = str | int | bool | None

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_LONGEST_SHOWN = 80
# What YAML 1.1 calls true (Kubernetes reads so), and strings that careless templates leave behind.
_TRUE = frozenset({"true", "yes", "on", "y"})


@dataclass(frozen=True, slots=True)
class Node:
    """One value.

    Attributes:
        value: A scalar, a mapping in the file's order, or a sequence.
        line: Counted from 1.
        column: Counted from 1.
        weight: How many values it holds, itself and what aliases repeat included.
    """

    value: Scalar | Mapping[str, Entry] | tuple[Node, ...]
    line: int
    column: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of a mapping and where its key stands."""

    node: Node
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Place:
    """A way into a document, whether or not there is a value at its end.

    Attributes:
        node: What stands there; None if nothing does, or null.
        path: RFC 9535 JSONPath, `$.spec.containers[0].image`.
        line: Of the value's key, else of the nearest thing above that is there.
        column: Likewise.
    """

    node: Node | None
    path: str
    line: int
    column: int

    @classmethod
    def root(cls, node: Node) -> Place:
        """The document itself."""
        return cls(node, "$", node.line, node.column)

    def get(self, *keys: str) -> Place:
        """The place below, key by key."""
        place = self
        for key in keys:
            place = place._child(key)
        return place

    def _child(self, key: str) -> Place:
        path = f"{self.path}.{key}" if _PLAIN_NAME.match(key) else f"{self.path}['{key}']"
        entry = self.node.value.get(key) if self.node and isinstance(self.node.value, Mapping) else None
        if entry is None:
            return Place(None, path, self.line, self.column)
        return Place(None if entry.node.value is None else entry.node, path, entry.line, entry.column)

    def items(self) -> Iterator[tuple[str, Place]]:
        """Keys and places of a mapping; nothing for anything else."""
        if self.node is not None and isinstance(self.node.value, Mapping):
            for key in self.node.value:
                yield key, self._child(key)

    def each(self) -> Iterator[Place]:
        """Places of a sequence; nothing for anything else."""
        if self.node is not None and isinstance(self.node.value, tuple):
            for index, node in enumerate(self.node.value):
                yield Place(node, f"{self.path}[{index}]", node.line, node.column)

    @property
    def present(self) -> bool:
        """Whether a value other than null is there."""
        return self.node is not None

    @property
    def is_mapping(self) -> bool:
        """Whether keys can be below."""
        return self.node is not None and isinstance(self.node.value, Mapping)

    @property
    def is_sequence(self) -> bool:
        """Whether it is a list."""
        return self.node is not None and isinstance(self.node.value, tuple)

    @property
    def scalar(self) -> Scalar:
        """The value; None for what is missing, a mapping or a sequence."""
        value = self.node.value if self.node is not None else None
        return value if isinstance(value, str | int | bool) else None

    @property
    def text(self) -> str:
        """The value as text; empty for what is missing, a mapping or a sequence."""
        value = self.scalar
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    @property
    def is_true(self) -> bool:
        """Whether it is true, also if only in words."""
        return self.scalar is True or self.text.lower() in _TRUE

    @property
    def shown(self) -> str:
        """For a message: the value, cut, or what is there instead of one."""
        if not self.present:
            return "not set"
        if self.is_mapping:
            return "set"
        if self.is_sequence:
            return ", ".join(item.text or "..." for item in self.each())[:_LONGEST_SHOWN] or "empty"
        return self.text[:_LONGEST_SHOWN] or '""'
