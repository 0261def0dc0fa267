"""What `veilbox scan --sarif` writes, held against OASIS's own JSON schema of SARIF 2.1.0."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator
from scan_workshop import HERE, TODAY, changed

from veilbox.scan.rule import Profile
from veilbox.scan.rules import RULES
from veilbox.scan.sarif import sarif
from veilbox.scan.scanner import scan
from veilbox.scan.suppression import parse_suppressions

SCHEMA = HERE / "schema" / "sarif-2.1.0-rtm.5.json"
FORMATS = ("kubernetes", "compose", "oci")


@cache
def _validator() -> Draft4Validator:
    schema = json.loads(SCHEMA.read_bytes())
    Draft4Validator.check_schema(schema)
    return Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


def _faults(log: Any) -> list[str]:
    # Through text, as a reader gets it.
    return [f"{fault.json_path}: {fault.message}" for fault in _validator().iter_errors(json.loads(json.dumps(log)))]


def _files() -> dict[str, bytes]:
    """Every failing example of every rule, and a file that cannot be read, under names that need escapes."""
    files = {"/abs/a b#c.yaml": b"a: ["}
    for form in FORMATS:
        rows = yaml.load((HERE / f"{form}.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader)
        files |= {f"{form} {number}/ü?.yaml": changed(form, row["fail"]) for number, row in enumerate(rows)}
    return files


def _log(profile: Profile) -> dict[str, Any]:
    files = _files()
    line = "[[suppress]]\nrule = 'host-namespaces'\nreason = 'a test'\n"
    suppressions = parse_suppressions(line, [rule.id for rule in RULES], "s.toml")
    return sarif(scan(files, profile, named=files, suppressions=suppressions, today=TODAY), profile, "1.2.3")


@pytest.mark.parametrize("profile", Profile)
def test_the_log_of_every_failing_example_is_valid(profile: Profile) -> None:
    log = _log(profile)
    assert len({result["ruleId"] for result in log["runs"][0]["results"]}) > 5
    assert _faults(log) == []


def _no_version(log: dict[str, Any]) -> None:
    del log["version"]


def _strange_level(log: dict[str, Any]) -> None:
    log["runs"][0]["results"][0]["level"] = "fatal"


def _line_zero(log: dict[str, Any]) -> None:
    log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0


def _field_of_our_own(log: dict[str, Any]) -> None:
    log["runs"][0]["results"][0]["veilbox"] = 1


@pytest.mark.parametrize("damage", [_no_version, _strange_level, _line_zero, _field_of_our_own])
def test_the_schema_refuses_what_is_no_sarif(damage: Callable[[dict[str, Any]], None]) -> None:
    log = _log(Profile.VEILBOX)
    damage(log)
    assert _faults(log) != []
