"""Every rule, in every format that can break it: a document that does and one that does not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from scan_workshop import HERE, changed, clean, rules_broken, scanned

from veilbox.scan.rule import Profile
from veilbox.scan.rules import RULES

FORMATS = ("kubernetes", "compose", "oci")
PROFILES = {rule.id: Profile.VEILBOX if Profile.VEILBOX in rule.profiles else min(rule.profiles) for rule in RULES}


@dataclass(frozen=True)
class Case:
    form: str
    rule: str
    fail: dict[str, Any]
    passing: dict[str, Any]
    at: str
    also: frozenset[str]
    profile: Profile


def _cases(form: str) -> list[Case]:
    return [
        Case(
            form=form,
            rule=row["rule"],
            fail=row["fail"],
            passing=row.get("pass", {}),
            at=row["at"],
            also=frozenset(row.get("also", ())),
            profile=Profile(row.get("profile", PROFILES[row["rule"]])),
        )
        for row in yaml.load((HERE / f"{form}.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader)
    ]


CASES = [case for form in FORMATS for case in _cases(form)]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.form}-{case.rule}-{case.at}")


@each_case
def test_the_failing_example_breaks_the_rule_and_no_other(case: Case) -> None:
    data = changed(case.form, case.fail)
    assert rules_broken(data, case.profile) == {case.rule} | case.also
    assert case.at in {finding.path for finding in scanned(data, case.profile).open if finding.rule.id == case.rule}


@each_case
def test_the_passing_example_keeps_the_rule(case: Case) -> None:
    assert case.rule not in rules_broken(changed(case.form, case.passing), case.profile)


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("form", FORMATS)
def test_the_clean_documents_are_clean(form: str, profile: Profile) -> None:
    assert clean(form)
    assert rules_broken(changed(form, {}), profile) == set()


def test_every_rule_has_a_case_in_every_format_that_it_knows() -> None:
    wanted = {(rule.id, form.value) for rule in RULES for form in rule.checks}
    assert wanted == {(case.rule, case.form) for case in CASES}


def test_the_page_lists_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "scan.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (\w+) \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    letters = {Profile.PSS_BASELINE: "b", Profile.PSS_RESTRICTED: "r", Profile.VEILBOX: "v"}
    assert rows == [
        (
            rule.id,
            rule.severity.value,
            "".join(letter for profile, letter in letters.items() if profile in rule.profiles),
            "".join(form.value[0].upper() for form in rule.checks),
            rule.title,
        )
        for rule in RULES
    ]


def test_rules_explain_themselves() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.title
        assert rule.gains.endswith(".")
        assert rule.fix.endswith(".")
        assert rule.references
        assert rule.profiles
        assert rule.checks
