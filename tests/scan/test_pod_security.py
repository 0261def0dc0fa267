"""The two profiles of the Pod Security Standards say what the standards say, field by field, no more and no less."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from scan_workshop import rules_broken, scanned

from veilbox.scan.pod_security import SAFE_SYSCTLS
from veilbox.scan.rule import Profile
from veilbox.scan.rules import RULES

BASELINE, RESTRICTED = Profile.PSS_BASELINE, Profile.PSS_RESTRICTED
# The least that the restricted profile admits. Source: Pod Security Standards, restricted.
CONTEXT = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(*, spec: dict[str, Any] | None = None, context: dict[str, Any] | None = None, **container: Any) -> bytes:
    one = {"name": "a", "image": "a", "securityContext": context if context is not None else CONTEXT} | container
    return _written({"containers": [one]} | (spec or {}))


def _written(spec: dict[str, Any]) -> bytes:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}).encode()


def test_a_pod_without_settings_is_baseline_and_not_restricted() -> None:
    bare = _written({"containers": [{"name": "a", "image": "a"}]})
    assert rules_broken(bare, BASELINE) == set()
    assert rules_broken(bare, RESTRICTED) == {
        "privilege-escalation", "run-as-non-root", "seccomp-required", "capabilities",
    }  # fmt: skip


def test_the_least_that_restricted_asks_is_enough() -> None:
    assert rules_broken(pod(), RESTRICTED) == set()


def test_what_is_beyond_the_standards_is_not_asked() -> None:
    lax = pod(
        resources={}, spec={"automountServiceAccountToken": True, "hostUsers": True, "shareProcessNamespace": True}
    )
    assert rules_broken(lax, RESTRICTED) == set()
    assert {rule.id for rule in RULES if BASELINE in rule.profiles} == {
        "host-process", "host-namespaces", "privileged", "capabilities-added", "host-path", "host-ports", "probe-hosts",
        "apparmor", "selinux", "proc-mount", "seccomp-unconfined", "sysctls",
    }  # fmt: skip


@pytest.mark.parametrize(
    "capability",
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ],
)
def test_baseline_allows_thirteen_capabilities_and_restricted_one(capability: str) -> None:
    data = pod(context=CONTEXT | {"capabilities": {"drop": ["ALL"], "add": [capability]}})
    assert rules_broken(data, BASELINE) == set()
    assert rules_broken(data, RESTRICTED) == (set() if capability == "NET_BIND_SERVICE" else {"capabilities"})


@pytest.mark.parametrize("capability", ["NET_RAW", "SYS_ADMIN", "ALL", "chown", "CAP_CHOWN"])
def test_baseline_allows_no_other(capability: str) -> None:
    data = pod(context=CONTEXT | {"capabilities": {"drop": ["ALL"], "add": [capability]}})
    assert rules_broken(data, BASELINE) == {"capabilities-added"}


@pytest.mark.parametrize("name", sorted(SAFE_SYSCTLS))
def test_safe_sysctls_are_allowed(name: str) -> None:
    data = pod(spec={"securityContext": {"sysctls": [{"name": name, "value": "1"}]}})
    assert rules_broken(data, RESTRICTED) == set()


@pytest.mark.parametrize(
    ("volume", "allowed"),
    [
        ({"configMap": {"name": "c"}}, True),
        ({"csi": {"driver": "d"}}, True),
        ({"downwardAPI": {}}, True),
        ({"emptyDir": {}}, True),
        ({"ephemeral": {}}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, True),
        ({"projected": {"sources": []}}, True),
        ({"secret": {"secretName": "s"}}, True),
        ({"image": {"reference": "a"}}, False),
        ({"nfs": {}}, False),
        ({"iscsi": {}}, False),
        ({"gitRepo": {}}, False),
        ({"hostPath": {"path": "/"}}, False),
        ({}, False),
    ],
    ids=str,
)
def test_restricted_knows_eight_types_of_volumes(volume: dict[str, Any], allowed: bool) -> None:
    data = pod(spec={"volumes": [{"name": "v"} | volume]})
    assert rules_broken(data, RESTRICTED) == (set() if allowed else {"volume-types"})


def test_a_user_namespace_relaxes_three_controls() -> None:
    context = {name: value for name, value in CONTEXT.items() if name != "runAsNonRoot"}
    loose = pod(context=context | {"runAsUser": 0, "procMount": "Unmasked"}, spec={"hostUsers": False})
    assert rules_broken(loose, BASELINE) == set()
    assert rules_broken(loose, RESTRICTED) == {"proc-mount-always"}
    shared = pod(context=context | {"runAsUser": 0, "procMount": "Unmasked"})
    assert rules_broken(shared, BASELINE) == {"proc-mount"}
    assert rules_broken(shared, RESTRICTED) == {"proc-mount-always", "run-as-non-root", "run-as-user"}


def test_windows_is_not_asked_what_only_linux_has() -> None:
    windows = pod(context={"runAsNonRoot": True}, spec={"os": {"name": "windows"}})
    assert rules_broken(windows, RESTRICTED) == set()


@pytest.mark.parametrize(
    ("whole_pod", "container", "kept"),
    [(True, None, True), (None, True, True), (False, True, False), (True, False, False), (None, None, False)],
)
def test_non_root_may_be_said_by_pod_or_container(whole_pod: bool | None, container: bool | None, kept: bool) -> None:
    data = pod(
        context=CONTEXT | {"runAsNonRoot": container},
        spec={"securityContext": {"runAsNonRoot": whole_pod}},
    )
    assert rules_broken(data, RESTRICTED) == (set() if kept else {"run-as-non-root"})


def test_seccomp_may_be_said_by_the_pod() -> None:
    context = {name: value for name, value in CONTEXT.items() if name != "seccompProfile"}
    data = pod(context=context, spec={"securityContext": {"seccompProfile": {"type": "Localhost"}}})
    assert rules_broken(data, RESTRICTED) == set()


@pytest.mark.parametrize("kind", ["Deployment", "Job", "StatefulSet", "DaemonSet", "ReplicaSet", "CronJob", "Pod"])
def test_every_kind_with_a_pod_is_looked_into(kind: str) -> None:
    template: dict[str, Any] = {"spec": {"hostPID": True, "containers": [{"name": "a", "image": "a"}]}}
    ways: dict[str, dict[str, Any]] = {
        "Pod": template,
        "CronJob": {"spec": {"jobTemplate": {"spec": {"template": template}}}},
    }
    body = ways.get(kind, {"spec": {"template": template}})
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "n"}} | body
    for document in (manifest, {"apiVersion": "v1", "kind": "List", "items": [manifest]}):
        (finding,) = scanned(yaml.safe_dump(document).encode(), BASELINE).open
        assert finding.rule.id == "host-namespaces"
        assert finding.subject == f"{kind}/n"
        assert finding.path.endswith(".hostPID")
