"""Merkle tree hashes and proofs as RFC 9162, section 2.1 tells a verifier to check them. Pure; names are the RFC's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def hash_leaf(entry: bytes) -> bytes:
    """HASH(0x00 || d[0]) of 2.1.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """HASH(0x01 || left || right) of 2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Stack:
    """The algorithm of 2.1.2, "Verifying a Tree Head Given Entries", leaf by leaf.

    Attributes:
        count: Leaves so far.
    """

    def __init__(self) -> None:
        self._stack: list[bytes] = []
        self.count = 0

    def push(self, leaf: bytes) -> list[bytes]:
        """Step 2 for one leaf's hash.

        Returns:
            The leaf's hash and the hashes of the subtrees that it merged, one after the other.
        """
        merged = [leaf]
        self._stack.append(leaf)
        # 2.3: the number of times that the least significant bit of i, shifted right, is set.
        merges = self.count
        while merges & 1:
            right, left = self._stack.pop(), self._stack.pop()
            self._stack.append(hash_children(left, right))
            merged.append(self._stack[-1])
            merges >>= 1
        self.count += 1
        return merged

    def root(self) -> bytes:
        """Steps 3 and 4: what is left on the stack, merged from the right; HASH() of no leaves."""
        if not self._stack:
            return hashlib.sha256().digest()
        rest = list(self._stack)
        while len(rest) > 1:
            right, left = rest.pop(), rest.pop()
            rest.append(hash_children(left, right))
        return rest[0]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of a list of leaf hashes."""
    stack = Stack()
    for leaf in leaves:
        stack.push(leaf)
    return stack.root()


def inclusion_holds(leaf_index: int, tree_size: int, leaf: bytes, path: Sequence[bytes], root_hash: bytes) -> bool:
    """The algorithm of 2.1.3.2.

    Args:
        leaf_index: From 0.
        tree_size: Leaves.
        leaf: The leaf's hash.
        path: `inclusion_path`, nearest sibling first.
        root_hash: Of the tree.
    """
    if not 0 <= leaf_index < tree_size:  # step 1
        return False
    fn, sn, r = leaf_index, tree_size - 1, leaf  # steps 2 and 3
    for p in path:  # step 4
        if sn == 0:  # 4.1
            return False
        if fn & 1 or fn == sn:  # 4.2
            r = hash_children(p, r)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:  # 4.3
            r = hash_children(r, p)
        fn, sn = fn >> 1, sn >> 1  # 4.4
    return sn == 0 and r == root_hash  # step 5


def consistency_holds(first: int, first_hash: bytes, second: int, second_hash: bytes, path: Sequence[bytes]) -> bool:
    """The algorithm of 2.1.4.2.

    Args:
        first: Leaves of the older tree, at least 1.
        first_hash: Its root.
        second: Leaves of the newer tree.
        second_hash: Its root.
        path: `consistency_path`.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_hash == second_hash
    hashes = list(path)
    if not hashes:  # step 1
        return False
    if first & (first - 1) == 0:  # step 2: an exact power of two
        hashes.insert(0, first_hash)
    fn, sn = first - 1, second - 1  # step 3
    while fn & 1:  # step 4
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]  # step 5
    for c in hashes[1:]:  # step 6
        if sn == 0:  # 6.1
            return False
        if fn & 1 or fn == sn:  # 6.2
            fr, sr = hash_children(c, fr), hash_children(c, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:  # 6.3
            sr = hash_children(sr, c)
        fn, sn = fn >> 1, sn >> 1  # 6.4
    return fr == first_hash and sr == second_hash and sn == 0  # step 7
