"""Protobuf's wire format, read strictly: a message becomes a tree of the fields that its table knows, or an error.

Nothing is executed and nothing is copied; what may cost time or memory is bounded. Stricter than protobuf itself,
where readers differ: an unknown field, a single field that comes twice and an empty tail are errors here.
Source: protobuf's encoding specification (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from veilbox.core.errors import ImageError
from veilbox.core.frozen import frozen

# A detector of 300 layers has some 30,000 fields; each costs a microsecond or two.
_MAX_FIELDS = 1_000_000
# Model, graph, node and attribute take three levels for each graph within a graph.
_MAX_DEPTH = 24
# Ten groups of seven bits hold 64.
_MAX_VARINT_BYTES = 10

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Scalar(Enum):
    """What a field holds besides messages, and the wire types in which it may come: alone, or many packed."""

    INT = (_VARINT, _BYTES)
    TEXT = (_BYTES,)
    FLOAT = (_FIXED32, _BYTES)
    DOUBLE = (_FIXED64, _BYTES)


@frozen(kw_only=False)
class Known:
    """A field of a message.

    Attributes:
        name: Its name.
        kind: A scalar, or the name of a message.
        many: Whether it may come more than once.
    """

    name: str
    kind: Scalar | str
    many: bool = False


Schema = Mapping[str, Mapping[int, Known]]


@dataclass(slots=True)
class Tree:
    """A message: its fields by name, each with all its values in order.

    Attributes:
        kind: Which message it is.
        fields: Only those that came.
    """

    kind: str
    fields: dict[str, list[int | memoryview | Tree]]

    def trees(self, name: str) -> Iterator[Tree]:
        """The messages of a field."""
        yield from (value for value in self.fields.get(name, ()) if isinstance(value, Tree))

    def texts(self, name: str) -> Iterator[str]:
        """The strings of a field; what is no UTF-8 is escaped."""
        for value in self.fields.get(name, ()):
            if isinstance(value, memoryview):
                yield bytes(value).decode("utf-8", "backslashreplace")

    def text(self, name: str) -> str:
        """The string of a field, empty if it did not come."""
        return next(self.texts(name), "")

    def numbers(self, name: str) -> Iterator[int]:
        """The integers of a field, packed or not, as two's complement of 64 bits."""
        for value in self.fields.get(name, ()):
            if isinstance(value, int):
                yield _signed(value)
            elif isinstance(value, memoryview):
                at = 0
                while at < len(value):
                    number, at = _varint(value, at)
                    yield _signed(number)

    def number(self, name: str) -> int:
        """The integer of a field, 0 if it did not come."""
        return next(self.numbers(name), 0)

    def length(self, name: str) -> int | None:
        """The length of a field's bytes, None if it did not come."""
        sizes = [len(value) for value in self.fields.get(name, ()) if isinstance(value, memoryview)]
        return sum(sizes) if sizes else None


class Reader:
    """Reads messages by a table.

    Args:
        schema: The messages by name.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._left = _MAX_FIELDS

    def read(self, content: memoryview, kind: str, *, depth: int = 0) -> Tree:
        """Read one message.

        Args:
            content: Its bytes, to the last.
            kind: Which message of the table.
            depth: Messages around it.

        Raises:
            ImageError: The bytes are not such a message, or beyond what is read.
        """
        if depth > _MAX_DEPTH:
            raise _refused("messages within messages", expected=f"at most {_MAX_DEPTH}", actual="more")
        table, tree, at = self._schema[kind], Tree(kind, {}), 0
        while at < len(content):
            self._left -= 1
            if self._left < 0:
                raise _refused("too many fields", expected=f"at most {_MAX_FIELDS}", actual="more")
            key, at = _varint(content, at)
            known = table.get(key >> 3)
            if known is None:
                raise _refused("unknown field", expected=f"one of {kind}'s", actual=str(key >> 3))
            value, at = _value(content, at, key & 7, known)
            self._keep(tree, known, value, depth)
        return tree

    def _keep(self, tree: Tree, known: Known, value: int | memoryview, depth: int) -> None:
        values = tree.fields.setdefault(known.name, [])
        if values and not known.many:
            # Readers differ in which of the two they take, or whether they merge them.
            raise _refused("field comes twice", expected=f"{tree.kind}.{known.name} once", actual="twice")
        if isinstance(known.kind, str) and isinstance(value, memoryview):
            values.append(self.read(value, known.kind, depth=depth + 1))
        else:
            values.append(value)


def _value(content: memoryview, at: int, wire: int, known: Known) -> tuple[int | memoryview, int]:
    allowed = (_BYTES,) if isinstance(known.kind, str) else known.kind.value
    if wire not in allowed or (wire == _BYTES and not known.many and allowed[0] != _BYTES):
        raise _refused("field of another type", expected=f"{known.name} of wire type {allowed[0]}", actual=str(wire))
    if wire == _VARINT:
        return _varint(content, at)
    if wire == _BYTES:
        size, at = _varint(content, at)
    else:
        size = 8 if wire == _FIXED64 else 4
    if size > len(content) - at:
        raise _refused("truncated", expected=f"{size} bytes of {known.name}", actual=str(len(content) - at))
    return content[at : at + size], at + size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= len(content):
            raise _refused("truncated", expected="the rest of a number", actual="the end")
        byte = content[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + index + 1
    raise _refused("number of more than 64 bits", expected="64 bits", actual="more")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _refused(what: str, *, expected: str, actual: str) -> ImageError:
    return ImageError(f"not an ONNX model: {what}", where="model.onnx", expected=expected, actual=actual)
