"""The scan as a whole: places, folders, suppressions, SARIF, exit statuses."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from scan_workshop import HERE, TODAY, bundle, changed, rules_broken, scanned

from veilbox.cli.main import main
from veilbox.core.errors import UsageError
from veilbox.scan.rule import Profile
from veilbox.scan.rules import RULES
from veilbox.scan.sarif import sarif
from veilbox.scan.scanner import scan
from veilbox.scan.suppression import parse_suppressions

HOST_PID = {"/spec/hostPID": True}
OPEN, NO_POLICY = "network-beside-footage", "network-policy"
KNOWN = [rule.id for rule in RULES]


def suppression(body: str) -> str:
    return f"[[suppress]]\nrule = 'host-namespaces'\n{body}"


def test_a_finding_says_where_what_and_why() -> None:
    data = (HERE / "clean" / "pod.yaml").read_bytes().replace(b"hostUsers: false", b"hostUsers: false\n  hostPID: true")
    (finding,) = scanned(data).open
    line = data.decode().splitlines().index("  hostPID: true") + 1
    assert (finding.line, finding.column, finding.path) == (line, 3, "$.spec.hostPID")
    assert (finding.subject, finding.found, finding.document) == ("Pod/lane", "true", 1)


def test_the_clean_files_are_clean_as_they_are_written() -> None:
    for name in ("pod.yaml", "compose.yaml"):
        assert rules_broken((HERE / "clean" / name).read_bytes()) == set()


@pytest.mark.parametrize("name", ["ingest", "detect-centerface", "anonymize", "export", "claim", "audit"])
def test_bundles_that_veilbox_makes_have_no_finding_beside_their_rings(name: str) -> None:
    allowed = set() if name == "anonymize" else {"ring-seen", "ring-writable"}  # the workshop's mounts are anonymize's
    assert rules_broken(json.dumps(bundle(name)).encode()) <= allowed


@pytest.mark.parametrize(
    ("policy", "broken"),
    [
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, set()),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}, set()),
        ({"podSelector": {}, "policyTypes": ["Egress"]}, {OPEN}),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]}, {OPEN}),
        ({"podSelector": {"matchLabels": {"app": "x"}}, "policyTypes": ["Ingress", "Egress"]}, {OPEN, NO_POLICY}),
        ({"podSelector": {"matchExpressions": [{}]}, "policyTypes": ["Ingress", "Egress"]}, {OPEN, NO_POLICY}),
    ],
)
def test_only_a_policy_that_allows_nothing_closes_a_pod(policy: dict[str, Any], broken: set[str]) -> None:
    data = changed("kubernetes", {}).split(b"\n---\n")[0]
    other = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "footage"},
        "spec": policy,
    }
    files = {"pod": data, "policy": yaml.safe_dump(other).encode()}
    assert {one.rule.id for one in scan(files, Profile.VEILBOX, today=TODAY).open} == broken


CLOSED = {"policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(
    ("expressions", "selects"),
    [
        ([{"key": "app", "operator": "In", "values": ["x", "veilbox"]}], True),
        ([{"key": "app", "operator": "In", "values": ["x"]}], False),
        ([{"key": "other", "operator": "In", "values": ["veilbox"]}], False),
        ([{"key": "app", "operator": "NotIn", "values": ["x"]}], True),
        ([{"key": "other", "operator": "NotIn", "values": ["x"]}], True),
        ([{"key": "app", "operator": "NotIn", "values": ["veilbox"]}], False),
        ([{"key": "app", "operator": "Exists"}], True),
        ([{"key": "other", "operator": "Exists"}], False),
        ([{"key": "other", "operator": "DoesNotExist"}], True),
        ([{"key": "app", "operator": "DoesNotExist"}], False),
        ([{"key": "app", "operator": "Exists"}, {"key": "other", "operator": "Exists"}], False),
        ([{"key": "app", "operator": "Near", "values": ["veilbox"]}], None),
        ([{"key": "app", "operator": "In"}], None),
        ([{"key": "app", "operator": "Exists", "values": ["veilbox"]}], None),
        ([{"operator": "Exists"}], None),
        ([{"key": "app", "operator": "DoesNotExist"}, {}], False),
        ({"key": "app"}, None),
    ],
    ids=str,
)
def test_a_policys_expressions_are_asked_of_the_pods_labels(expressions: Any, *, selects: bool | None) -> None:
    """A closing policy that selects the pod is enough, and an opening one that may select it is too much."""
    data = changed("kubernetes", {"/metadata/labels/app": "veilbox"})
    pod, policy = data.split(b"\n---\n")[:2]
    head = yaml.safe_load(policy) | {"spec": {"podSelector": {"matchExpressions": expressions}, **CLOSED}}
    closing = {"pod": pod, "policy": yaml.safe_dump(head).encode()}
    found = {one.rule.id for one in scan(closing, Profile.VEILBOX, today=TODAY).open}
    assert found == (set() if selects else {OPEN, NO_POLICY})
    head["spec"] |= {"egress": [{}]}
    opening = {"all": data, "policy": yaml.safe_dump(head).encode()}
    found = {one.rule.id for one in scan(opening, Profile.VEILBOX, today=TODAY).open}
    assert found == (set() if selects is False else {OPEN})


def test_one_policy_that_opens_undoes_those_that_close() -> None:
    opens = changed("kubernetes", {}) + (
        b"---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: footage}\n"
        b"spec: {podSelector: {matchExpressions: [{key: a}]}, policyTypes: [Egress], egress: [{}]}\n"
    )
    assert rules_broken(opens) == {OPEN}


def test_a_named_file_of_no_format_is_unreadable_and_a_found_one_is_skipped() -> None:
    files = {"values.yaml": b"replicas: 1\n"}
    assert [one.file for one in scan(files, Profile.VEILBOX, named=files, today=TODAY).unreadable] == ["values.yaml"]
    found = scan(files, Profile.VEILBOX, today=TODAY)
    assert (found.unreadable, found.skipped, found.files) == ((), 1, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"apiVersion: v1\nkind: Pod\nspec: {containers: {a: b}}\n",
        b"apiVersion: apps/v1\nkind: Deployment\n",
        b"services: {a: [1]}\n",
    ],
)
def test_what_looks_like_configuration_and_is_not_is_unreadable(data: bytes) -> None:
    assert len(scanned(data).unreadable) == 1


@pytest.mark.parametrize(
    ("body", "open_findings"),
    [
        ("reason = 'legacy'\n", 0),
        ("reason = 'legacy'\nfile = 'f*'\npath = '$.spec.host*'\n", 0),
        ("reason = 'legacy'\nuntil = 2026-11-24\n", 0),
        ("reason = 'legacy'\nuntil = 2026-11-23\n", 1),
        ("reason = 'legacy'\nfile = 'other'\n", 1),
        ("reason = 'legacy'\npath = '$.spec.hostIPC'\n", 1),
    ],
)
def test_a_suppression_covers_what_it_names_while_it_holds(body: str, open_findings: int) -> None:
    lines = parse_suppressions(suppression(body), KNOWN, "s.toml")
    result = scanned(changed("kubernetes", HOST_PID), suppressions=lines)
    assert len(result.open) == open_findings
    assert len(result.findings) == 1
    assert len(result.idle) == open_findings
    if not open_findings:
        assert (result.findings[0].suppressed, result.findings[0].suppressed_in) == ("legacy", "file")


def test_brackets_in_a_suppressed_path_are_no_pattern() -> None:
    text = "[[suppress]]\nrule = 'privileged'\nreason = 'r'\npath = '$.spec.containers[0].securityContext.*'\n"
    lines = parse_suppressions(text, KNOWN, "s.toml")
    for index, count in ((0, 0), (1, 1)):
        data = changed("kubernetes", {f"/spec/containers/{index}/securityContext/privileged": True})
        assert len(scanned(data, suppressions=lines).open) == count


@pytest.mark.parametrize(
    "text",
    [
        "suppress = 1",
        "[[suppress]]\nrule = 'host-namespaces'\n",
        "[[suppress]]\nrule = 'host-namespaces'\nreason = ' '\n",
        "[[suppress]]\nrule = 'no-such-rule'\nreason = 'r'\n",
        "[[suppress]]\nrule = 'privileged'\nreason = 'r'\nfiles = 'x'\n",
        "not toml",
    ],
)
def test_a_suppression_without_rule_or_reason_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_suppressions(text, KNOWN, "s.toml")


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        ("kubernetes", HOST_PID | {"/metadata/annotations": {"scan.veilbox.io/host-namespaces": "a debugger"}}),
        (
            "compose",
            {"/services/audit/pid": "host", "/services/audit/labels": {"scan.veilbox.io/host-namespaces": "d"}},
        ),
        ("compose", {"/services/audit/pid": "host", "/services/audit/labels": ["scan.veilbox.io/host-namespaces=d"]}),
        ("oci", {"/linux/namespaces/0": None, "/annotations": {"scan.veilbox.io/host-namespaces": "d"}}),
    ],
    ids=str,
)
def test_an_annotation_with_a_reason_suppresses(form: str, changes: dict[str, Any]) -> None:
    (finding,) = scanned(changed(form, changes)).findings
    assert finding.suppressed
    assert finding.suppressed_in == "annotation"


def test_an_annotation_without_a_reason_or_on_another_service_does_not() -> None:
    empty = HOST_PID | {"/metadata/annotations": {"scan.veilbox.io/host-namespaces": ""}}
    assert rules_broken(changed("kubernetes", empty)) == {"host-namespaces"}
    other = {"/services/audit/pid": "host", "/services/export/labels": {"scan.veilbox.io/host-namespaces": "d"}}
    assert rules_broken(changed("compose", other)) == {"host-namespaces"}


def test_sarif_names_rule_place_and_suppression() -> None:
    data = changed("kubernetes", HOST_PID | {"/spec/hostIPC": True})
    lines = parse_suppressions(suppression("reason = 'r'\npath = '$.spec.hostIPC'\n"), KNOWN, "s.toml")
    run = sarif(scanned(data, suppressions=lines), Profile.VEILBOX, "1.0")["runs"][0]
    assert len(run["results"]) == 2
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "host-namespaces"
        assert result["level"] == "error"
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file"
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] > 1
    pid, ipc = sorted(run["results"], key=lambda one: len(one["suppressions"]))
    assert ipc["suppressions"] == [{"kind": "external", "justification": "r"}]
    assert pid["partialFingerprints"] != ipc["partialFingerprints"]
    assert run["invocations"][0]["executionSuccessful"] is True


def test_sarif_says_what_was_not_judged() -> None:
    run = sarif(scanned(b"a: ["), Profile.VEILBOX, "1.0")["runs"][0]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert "YAML" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]


def _folder(path: Path, **files: bytes) -> Path:
    for name, data in files.items():
        (path / f"{name}.yaml").write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"pod": {}}, 0),
        ({"pod": HOST_PID}, 1),
        ({"pod": HOST_PID, "broken": None}, 2),
        ({"pod": {}, "broken": None}, 2),
    ],
    ids=str,
)
def test_exit_statuses(
    files: dict[str, dict[str, Any] | None], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = {name: b"a: [" if changes is None else changed("kubernetes", changes) for name, changes in files.items()}
    assert main(["scan", str(_folder(tmp_path, **written))]) == status
    out, err = capsys.readouterr()
    assert ("host-namespaces" in out) is (HOST_PID in files.values())
    assert ("not judged" in err) is ("broken" in files)


def test_a_file_that_is_not_there_exits_with_2(tmp_path: Path) -> None:
    assert main(["scan", str(tmp_path / "none.yaml")]) == UsageError.exit_code


def test_json_holds_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _folder(tmp_path, pod=changed("kubernetes", HOST_PID))
    (tmp_path / "s.toml").write_text(suppression("reason = 'r'\n") + suppression("reason = 'x'\nfile = 'z'\n"))
    assert main(["scan", "--json", "--suppressions", str(tmp_path / "s.toml"), str(folder)]) == 0
    document = json.loads(capsys.readouterr().out)
    (finding,) = document["findings"]
    assert (finding["rule"], finding["severity"], finding["suppressed"]) == ("host-namespaces", "high", "r")
    assert finding["references"]
    assert document["unused_suppressions"] == [{"rule": "host-namespaces", "file": "z", "path": "*"}]


def test_sarif_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--sarif", str(_folder(tmp_path, pod=changed("kubernetes", HOST_PID)))]) == 1
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"


def test_names_cannot_write_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = changed("kubernetes", HOST_PID | {"/metadata/name": "x\x1b[2J"})
    main(["scan", str(_folder(tmp_path, pod=data))])
    assert "\x1b" not in capsys.readouterr().out


def test_a_suppression_can_end() -> None:
    (line,) = parse_suppressions(suppression("reason = 'r'\nuntil = 2030-01-01\n"), KNOWN, "s.toml")
    assert line.until == date(2030, 1, 1)


@pytest.mark.parametrize("arguments", [[], ["--live", "deploy"], ["--live", "--profile", "pss-baseline"]], ids=str)
def test_files_or_live_and_not_both(arguments: list[str]) -> None:
    assert main(["scan", *arguments]) == UsageError.exit_code
