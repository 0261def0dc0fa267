"""The Pod Security Standards, control by control, in their own words' order.

Source: Kubernetes 1.37, "Pod Security Standards" and the checks of its admission controller: probes' hosts since 1.34,
what a user namespace relaxes since 1.35, two more sysctls since 1.37.
"""

from __future__ import annotations

from collections.abc import Iterator

from veilbox.scan.kubernetes import containers
from veilbox.scan.rule import Fault
from veilbox.scan.tree import Place
from veilbox.scan.workload import Workload

# Baseline, "Capabilities".
BASELINE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
# Restricted, "Capabilities".
RESTRICTED_CAPABILITIES = frozenset({"NET_BIND_SERVICE"})

# Baseline, "Sysctls": from 1.27 on reserved ports, from 1.29 on keepalive and FIN, 1.32 buffers, 1.37 the last two.
SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_notsent_lowat",
    }
)
# Baseline, "SELinux": container_engine_t since 1.31.
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_PROFILES = frozenset({"RuntimeDefault", "Localhost"})
# Restricted, "Volume Types".
_VOLUME_TYPES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")


def _contexts(workload: Workload) -> Iterator[Place]:
    """The pod's security context and those of its containers."""
    yield workload.spec.get("securityContext")
    for container in containers(workload.spec):
        yield container.get("securityContext")


def _windows(workload: Workload) -> bool:
    return workload.spec.get("os", "name").text == "windows"


def _relaxed(workload: Workload) -> bool:
    """Whether the pod has a user namespace of its own, for which since 1.35 some controls do not ask."""
    return workload.spec.get("hostUsers").scalar is False


def host_process(workload: Workload) -> Iterator[Fault]:
    """Baseline, HostProcess."""
    for context in _contexts(workload):
        field = context.get("windowsOptions", "hostProcess")
        if field.is_true:
            yield Fault(field, field.shown)


def host_namespaces(workload: Workload) -> Iterator[Fault]:
    """Baseline, Host Namespaces."""
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        field = workload.spec.get(name)
        if field.is_true:
            yield Fault(field, field.shown)


def privileged(workload: Workload) -> Iterator[Fault]:
    """Baseline, Privileged Containers."""
    for container in containers(workload.spec):
        field = container.get("securityContext", "privileged")
        if field.is_true:
            yield Fault(field, field.shown)


def added_capabilities(workload: Workload) -> Iterator[Fault]:
    """Baseline, Capabilities."""
    for container in containers(workload.spec):
        for capability in container.get("securityContext", "capabilities", "add").each():
            if capability.text not in BASELINE_CAPABILITIES:
                yield Fault(capability, capability.shown)


def host_paths(workload: Workload) -> Iterator[Fault]:
    """Baseline, HostPath Volumes."""
    for volume in workload.spec.get("volumes").each():
        if volume.get("hostPath").present:
            yield Fault(volume.get("hostPath"), volume.get("hostPath", "path").shown)


def host_ports(workload: Workload) -> Iterator[Fault]:
    """Baseline, Host Ports."""
    for container in containers(workload.spec):
        for port in container.get("ports").each():
            field = port.get("hostPort")
            if field.text not in {"", "0"}:
                yield Fault(field, field.shown)


def probe_hosts(workload: Workload) -> Iterator[Fault]:
    """Baseline, Host Probes / Lifecycle Hooks."""
    for container in containers(workload.spec):
        actions = [container.get(name) for name in _PROBES]
        actions += [container.get("lifecycle", name) for name in _HOOKS]
        for action in actions:
            for way in ("httpGet", "tcpSocket"):
                field = action.get(way, "host")
                if field.text:
                    yield Fault(field, field.shown)


def apparmor(workload: Workload) -> Iterator[Fault]:
    """Baseline, AppArmor."""
    for context in _contexts(workload):
        field = context.get("appArmorProfile", "type")
        if field.present and field.text not in _PROFILES:
            yield Fault(field, field.shown)
    for own in workload.annotations[-1:]:  # the pod's, not those of what makes the pod
        for key, value in own.items():
            if key.startswith(_APPARMOR) and not _known_apparmor(value.text):
                yield Fault(value, value.shown)


def _known_apparmor(text: str) -> bool:
    return text in {"", "runtime/default"} or text.startswith("localhost/")


def selinux(workload: Workload) -> Iterator[Fault]:
    """Baseline, SELinux."""
    for context in _contexts(workload):
        options = context.get("seLinuxOptions")
        if options.get("type").text not in _SELINUX_TYPES:
            yield Fault(options.get("type"), options.get("type").shown)
        for name in ("user", "role"):
            if options.get(name).text:
                yield Fault(options.get(name), options.get(name).shown)


def proc_mount(workload: Workload) -> Iterator[Fault]:
    """Baseline, /proc Mount Type."""
    return iter(()) if _relaxed(workload) else proc_mount_restricted(workload)


def proc_mount_restricted(workload: Workload) -> Iterator[Fault]:
    """Restricted, /proc Mount Type: the same, and a user namespace changes nothing."""
    for container in containers(workload.spec):
        field = container.get("securityContext", "procMount")
        if field.text not in {"", "Default"}:
            yield Fault(field, field.shown)


def seccomp_unconfined(workload: Workload) -> Iterator[Fault]:
    """Baseline, Seccomp: it may be left out, not switched off."""
    for context in _contexts(workload):
        field = context.get("seccompProfile", "type")
        if field.present and field.text not in _PROFILES:
            yield Fault(field, field.shown)


def sysctls(workload: Workload) -> Iterator[Fault]:
    """Baseline, Sysctls."""
    for sysctl in workload.spec.get("securityContext", "sysctls").each():
        if sysctl.get("name").text not in SAFE_SYSCTLS:
            yield Fault(sysctl.get("name"), sysctl.get("name").shown)


def volume_types(workload: Workload) -> Iterator[Fault]:
    """Restricted, Volume Types."""
    for volume in workload.spec.get("volumes").each():
        if not any(volume.get(kind).present for kind in _VOLUME_TYPES):
            kinds = [key for key, _ in volume.items() if key != "name"]
            yield Fault(volume, ", ".join(kinds) or "no type")


def other_volume_types(workload: Workload) -> Iterator[Fault]:
    """The same without host paths, which a rule of their own names."""
    return (fault for fault in volume_types(workload) if not fault.place.get("hostPath").present)


def privilege_escalation(workload: Workload) -> Iterator[Fault]:
    """Restricted, Privilege Escalation; Linux only since 1.25."""
    if _windows(workload):
        return
    for container in containers(workload.spec):
        field = container.get("securityContext", "allowPrivilegeEscalation")
        if field.scalar is not False:
            yield Fault(field, field.shown)


def run_as_non_root(workload: Workload) -> Iterator[Fault]:
    """Restricted, Running as Non-root."""
    if _relaxed(workload):
        return
    whole_pod = workload.spec.get("securityContext", "runAsNonRoot")
    if whole_pod.present and not whole_pod.is_true:
        yield Fault(whole_pod, whole_pod.shown)
    for container in containers(workload.spec):
        field = container.get("securityContext", "runAsNonRoot")
        if not (field.is_true if field.present else whole_pod.is_true):
            yield Fault(field, field.shown)


def run_as_user(workload: Workload) -> Iterator[Fault]:
    """Restricted, Running as Non-root user."""
    if _relaxed(workload):
        return
    for context in _contexts(workload):
        field = context.get("runAsUser")
        if field.text == "0":
            yield Fault(field, field.shown)


def seccomp_required(workload: Workload) -> Iterator[Fault]:
    """Restricted, Seccomp, beyond baseline's: a profile must be named, for the pod or each container; Linux only."""
    if _windows(workload):
        return
    whole_pod = workload.spec.get("securityContext", "seccompProfile", "type")
    for container in containers(workload.spec):
        field = container.get("securityContext", "seccompProfile", "type")
        if not field.present and not whole_pod.present:
            yield Fault(field, field.shown)


def capabilities_dropped(workload: Workload) -> Iterator[Fault]:
    """Restricted, Capabilities: ALL dropped, at most one added again; Linux only since 1.25."""
    if _windows(workload):
        return
    for container in containers(workload.spec):
        capabilities = container.get("securityContext", "capabilities")
        if "ALL" not in {place.text for place in capabilities.get("drop").each()}:
            yield Fault(capabilities.get("drop"), capabilities.get("drop").shown)
        for capability in capabilities.get("add").each():
            if capability.text not in RESTRICTED_CAPABILITIES:
                yield Fault(capability, capability.shown)
