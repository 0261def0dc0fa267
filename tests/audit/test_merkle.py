"""The tree against the published vectors, the verifier's other algorithms, and a library of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree  # type: ignore[import-untyped]

from veilbox.audit.merkle import EMPTY_ROOT, RightEdge, consistency_proof, inclusion_proof, leaf_hash, node_hash
from veilbox.audit.tree_file import group, group_offset, node_offset
from veilbox.audit_verifier.tree import consistency_holds, hash_children, hash_leaf, inclusion_holds, root_of

# Inputs and roots of the reference implementation of RFC 6962 (certificate-transparency, merkle_tree_test.cc).
INPUTS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
MOST = 70
LEAVES = [leaf_hash(b"%d" % number) for number in range(MOST)]


class Tree:
    """Stored hashes of a tree, and its root at every size."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.roots = [EMPTY_ROOT]
        edge = RightEdge()
        for index, leaf in enumerate(leaves):
            for level, node in enumerate(edge.append(leaf)):
                self.nodes[level, index >> level] = node
            self.roots.append(edge.root())

    def node(self, level: int, number: int) -> bytes:
        return self.nodes[level, number]


TREE = Tree(LEAVES)


def sizes(most: int = MOST) -> Iterator[tuple[int, int]]:
    return ((old, new) for new in range(1, most + 1) for old in range(1, new + 1))


def test_published_roots() -> None:
    tree = Tree([leaf_hash(data) for data in INPUTS])
    assert [root.hex() for root in tree.roots[1:]] == ROOTS
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_verifier_has_the_published_roots_too() -> None:
    assert [root_of(hash_leaf(data) for data in INPUTS[:size]).hex() for size in range(1, 9)] == ROOTS
    assert root_of([]) == EMPTY_ROOT
    assert hash_children(b"a" * 32, b"b" * 32) == node_hash(b"a" * 32, b"b" * 32)


def test_roots_are_those_of_pymerkle() -> None:
    other = InmemoryTree(algorithm="sha256")
    for number in range(MOST):
        other.append_entry(b"%d" % number)
        assert other.get_root() == TREE.roots[number + 1]


def test_every_inclusion_proof_holds_and_no_other() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = inclusion_proof(TREE.node, index, size)
            assert inclusion_holds(index, size, LEAVES[index], proof, TREE.roots[size])
            assert not inclusion_holds(index, size, LEAVES[index - 1], proof, TREE.roots[size]) or size == 1
            assert not inclusion_holds(index + 1, size, LEAVES[index], proof, TREE.roots[size])
            assert not inclusion_holds(index, size, LEAVES[index], [*proof, LEAVES[0]], TREE.roots[size])
            assert not (proof and inclusion_holds(index, size, LEAVES[index], proof[:-1], TREE.roots[size]))


def test_every_consistency_proof_holds_and_no_other() -> None:
    for old, new in sizes(40):
        proof = consistency_proof(TREE.node, old, new)
        assert consistency_holds(old, TREE.roots[old], new, TREE.roots[new], proof)
        assert not consistency_holds(old, TREE.roots[old - 1], new, TREE.roots[new], proof)
        assert not consistency_holds(old, TREE.roots[old], new, TREE.roots[new], [*proof, LEAVES[0]])
        if old != new:
            assert not consistency_holds(old, TREE.roots[new], new, TREE.roots[new], proof)
            assert not consistency_holds(old, TREE.roots[old], new, TREE.roots[new], proof[:-1])


@given(st.integers(1, MOST), st.data())
def test_a_changed_proof_never_holds(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(TREE.node, index, size)
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        proof[at] = (int.from_bytes(proof[at], "big") ^ (1 << bit)).to_bytes(32, "big")
        assert not inclusion_holds(index, size, LEAVES[index], proof, TREE.roots[size])


@given(st.integers(0, MOST))
def test_an_edge_comes_back_from_stored_hashes(size: int) -> None:
    assert RightEdge.of(TREE.node, size).root() == TREE.roots[size]


def test_stored_hashes_lie_where_they_are_looked_for() -> None:
    file, edge = b"", RightEdge()
    for index, leaf in enumerate(LEAVES):
        assert len(file) == group_offset(index)
        file += group(index, edge.append(leaf))
    for (level, number), node in TREE.nodes.items():
        offset = node_offset(level, number)
        assert file[offset : offset + 32] == node


@pytest.mark.parametrize("size", [10**7, 2**40 + 12345])
def test_a_large_tree_needs_few_reads(size: int) -> None:
    reads = []

    def node(level: int, number: int) -> bytes:
        reads.append((level, number))
        return b"%032d" % (level * 1000 + number % 1000)

    RightEdge.of(node, size)
    assert len(reads) == size.bit_count()
    proof = inclusion_proof(node, size // 3, size)
    assert len(proof) <= size.bit_length()
    assert len(reads) < size.bit_length() ** 2


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(TREE.node, 3, 3)
    with pytest.raises(ValueError, match="no proof"):
        consistency_proof(TREE.node, 0, 3)
    with pytest.raises(ValueError, match="peaks"):
        RightEdge(3, ())
    assert not inclusion_holds(0, 0, LEAVES[0], [], EMPTY_ROOT)
    assert not consistency_holds(0, EMPTY_ROOT, 1, TREE.roots[1], [])
