"""The Merkle tree of RFC 9162, section 2.1 (the same as RFC 6962's): hashes, the right edge, proofs.

Pure. Stored hashes are asked for by level and number: node (0, i) is the hash of leaf i, node (l, k) the root of the
leaves [k * 2**l, (k + 1) * 2**l). Only complete subtrees are ever stored, so no stored hash changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

HASH_BYTES = 32
# RFC 9162, 2.1.1: the hash of an empty list is the hash of an empty string.
EMPTY_ROOT = hashlib.sha256(b"").digest()

Nodes = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The 32-byte hash of a leaf (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash of two children (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class RightEdge:
    """The complete subtrees that a tree of some size is made of, largest first: all that an append needs.

    Args:
        size: Number of leaves.
        peaks: One hash for each bit that is set in `size`, from the highest.
    """

    def __init__(self, size: int = 0, peaks: tuple[bytes, ...] = ()) -> None:
        if size < 0 or len(peaks) != size.bit_count():
            raise ValueError(f"{len(peaks)} peaks for {size} leaves")
        self.size = size
        self._peaks = list(peaks)

    @classmethod
    def of(cls, nodes: Nodes, size: int) -> RightEdge:
        """The edge of a stored tree, by at most 64 reads."""
        return cls(size, tuple(nodes(level, number) for level, number in _complete(0, size)))

    def copy(self) -> RightEdge:
        """The same edge, to try an append on."""
        return RightEdge(self.size, tuple(self._peaks))

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf's hash.

        Returns:
            The hashes of the subtrees that it completes, from level 0 (the leaf's own) upwards.
        """
        completed = [leaf]
        for _ in range(_trailing_ones(self.size)):
            completed.append(node_hash(self._peaks.pop(), completed[-1]))
        self._peaks.append(completed[-1])
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The tree's root."""
        return _folded(self._peaks) if self._peaks else EMPTY_ROOT


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The audit path of a leaf, nearest sibling first (RFC 9162, 2.1.3.1).

    Args:
        nodes: Stored hashes.
        index: The leaf's, from 0.
        size: Leaves of the tree that the proof is for.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    return [_subtree(nodes, start, end) for start, end in _siblings(index, size)][::-1]


def _siblings(index: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges beside the way from the root to a leaf, from the root."""
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            yield middle, end
            end = middle
        else:
            yield start, middle
            start = middle


def consistency_proof(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """The proof that a tree grew out of an older one (RFC 9162, 2.1.4.1).

    Args:
        nodes: Stored hashes.
        old: Leaves of the older tree, at least 1.
        new: Leaves of the newer tree.
    """
    if not 0 < old <= new:
        raise ValueError(f"no proof from {old} to {new} leaves")
    start, end, whole = 0, new, True
    ranges: list[tuple[int, int]] = []
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, end))
    return [_subtree(nodes, *one) for one in reversed(ranges)]


def _subtree(nodes: Nodes, start: int, end: int) -> bytes:
    """The root of the leaves [start, end), where start is a multiple of the largest power of two in the length."""
    return _folded([nodes(level, number) for level, number in _complete(start, end)])


def _complete(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Level and number of the complete subtrees that cover [start, end), largest first."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _folded(peaks: list[bytes]) -> bytes:
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _split(size: int) -> int:
    """The largest power of two smaller than `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1
