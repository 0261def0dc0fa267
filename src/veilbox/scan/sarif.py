"""Findings as SARIF 2.1.0, which code hosts and editors show beside the line.

Source: OASIS SARIF 2.1.0 Plus Errata 01; `security-severity` and partial fingerprints as GitHub reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from veilbox.scan.rule import Finding, Profile, Rule, Severity
from veilbox.scan.scanner import Scanned, Unreadable, rules_of

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Mapping[Severity, str] = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
# GitHub's bands: high from 7.0, medium from 4.0.
_SCORES: Mapping[Severity, str] = {Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0"}
_KINDS: Mapping[str, str] = {"annotation": "inSource", "file": "external"}


def sarif(scanned: Scanned, profile: Profile, version: str) -> dict[str, Any]:
    """The whole log, ready for `json.dumps`."""
    by_id = {rule.id: rule for rule in (*rules_of(profile), *(finding.rule for finding in scanned.findings))}
    rules = list(by_id.values())
    order = {name: index for index, name in enumerate(by_id)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "veilbox scan",
                        "semanticVersion": version,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "properties": {"profile": profile.value},
                "invocations": [_invocation(scanned.unreadable)],
                "results": [_result(finding, order[finding.rule.id]) for finding in scanned.findings],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title[:1].upper() + rule.title[1:] + "."},
        "fullDescription": {"text": f"An attacker gains: {rule.gains}"},
        "help": {"text": f"{rule.fix} References: {'; '.join(rule.references)}."},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": ["security", *rule.references],
            "security-severity": _SCORES[rule.severity],
        },
    }


def _invocation(unreadable: Sequence[Unreadable]) -> dict[str, Any]:
    notes = [
        {
            "level": "error",
            "message": {"text": one.reason},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(one.file)}}}],
        }
        for one in unreadable
    ]
    return {"executionSuccessful": not notes, "toolExecutionNotifications": notes}


def _result(finding: Finding, index: int) -> dict[str, Any]:
    key = "\0".join((finding.rule.id, finding.file, str(finding.document), finding.path))
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": _LEVELS[finding.rule.severity],
        "message": {"text": f"{finding.subject}: {finding.rule.title} ({finding.found}). {finding.rule.fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(finding.file)},
                    "region": {"startLine": finding.line, "startColumn": finding.column},
                },
                "logicalLocations": [{"fullyQualifiedName": finding.path}],
            }
        ],
        "partialFingerprints": {"veilboxScan/v1": hashlib.sha256(key.encode()).hexdigest()},
        "suppressions": [
            {"kind": _KINDS[finding.suppressed_in], "justification": finding.suppressed},
        ]
        if finding.suppressed
        else [],
    }


def _uri(file: str) -> str:
    """A relative reference, or a file URI for an absolute path."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
