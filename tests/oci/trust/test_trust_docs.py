"""The page on trust policies keeps to the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from veilbox.oci.trust.policy_file import _Rule
from veilbox.oci.trust.verify import Clause

PAGE = (Path(__file__).parents[3] / "docs/reference/trust-policy.md").read_text("utf-8")


def test_clauses_are_those_of_the_code_in_their_order() -> None:
    found = re.findall(r"^\| ([0-9]+) \| `([a-z]+)` \|", PAGE, re.MULTILINE)
    assert found == [(str(clause.number), clause.value) for clause in Clause]


def test_every_field_of_a_rule_is_described() -> None:
    described = re.findall(r"^\| `([a-z_]+)` \|", PAGE.partition("## Rules")[2], re.MULTILINE)
    assert sorted(described) == sorted(field.encode_name for field in msgspec.structs.fields(_Rule))
