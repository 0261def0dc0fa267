"""Compose files: services as containers, and the checks on their settings.

Source: the Compose specification, "Services top-level elements" and "Deploy". Variables are not filled in: what a
variable decides is taken as not set. `extends` and `include` are not followed; a rule says where they hide settings.
"""

from __future__ import annotations

from collections.abc import Iterator

from veilbox.core.errors import UsageError
from veilbox.scan.pod_security import BASELINE_CAPABILITIES, RESTRICTED_CAPABILITIES, SAFE_SYSCTLS
from veilbox.scan.rule import Fault
from veilbox.scan.tree import Place
from veilbox.scan.workload import Contained, Format, Kind, Mounted, Workload

_HOST_MODES = ("network_mode", "pid", "ipc", "uts")
_ROOT = frozenset({"root", "0"})


def is_compose(document: Place) -> bool:
    """Whether a document is a Compose file: a mapping of services, each a mapping."""
    services = document.get("services")
    return services.is_mapping and not document.get("kind").present


def project(document: Place) -> Workload:
    """The whole file.

    Raises:
        UsageError: A service is no mapping.
    """
    services = document.get("services")
    for name, service in services.items():
        if not service.is_mapping:
            raise UsageError("not a service", where=service.path, expected="a mapping", actual=name)
    return Workload(
        format=Format.COMPOSE,
        name=f"Compose/{document.get('name').text or 'project'}",
        root=document,
        spec=services,
        containers=tuple(_contained(name, service) for name, service in services.items()),
    )


def _contained(name: str, service: Place) -> Contained:
    words = [word for field in ("entrypoint", "command") for word in _words(service.get(field))]
    mounts = [_mounted(place) for place in service.get("volumes").each()]
    mounts += [_memory(place) for place in _one_or_more(service.get("tmpfs"))]
    mounts += [_secret(place) for place in service.get("secrets").each()]
    return Contained(place=service, name=name, words=tuple(words), image=service.get("image"), mounts=tuple(mounts))


def _words(place: Place) -> list[str]:
    return [word.text for word in place.each()] if place.is_sequence else place.text.split()


def _one_or_more(place: Place) -> Iterator[Place]:
    if place.is_sequence:
        yield from place.each()
    elif place.present:
        yield place


def _mounted(place: Place) -> Mounted:
    if place.is_mapping:
        return _long_mount(place)
    source, destination, options = _short_mount(place.text)
    words = frozenset(options.split(","))
    return Mounted(
        place=place,
        kind=_kind(source),
        source=source,
        destination=destination,
        read_only="ro" in words,
        propagation=next((word for word in words if word.endswith(("shared", "slave"))), ""),
        options=words,
    )


def _short_mount(text: str) -> tuple[str, str, str]:
    """`[SOURCE:]DESTINATION[:OPTIONS]`; a colon inside a variable's default parts nothing."""
    parts, depth, word = [], 0, ""
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == ":" and not depth:
            parts.append(word)
            word = ""
        else:
            word += character
    parts.append(word)
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], ":".join(parts[2:])


def _kind(source: str) -> Kind:
    if not source:
        return Kind.VOLUME
    # A name without a slash is a volume; everything else is a path of the host, variables included.
    return Kind.HOST if source.startswith(("/", ".", "~", "$")) or "/" in source else Kind.VOLUME


def _long_mount(place: Place) -> Mounted:
    kinds = {"bind": Kind.HOST, "tmpfs": Kind.MEMORY, "npipe": Kind.HOST}
    return Mounted(
        place=place,
        kind=kinds.get(place.get("type").text, Kind.VOLUME),
        source=place.get("source").text or place.get("src").text,
        destination=place.get("target").text or place.get("dst").text or place.get("destination").text,
        read_only=place.get("read_only").is_true or place.get("readonly").is_true,
        propagation=place.get("bind", "propagation").text,
    )


def _memory(place: Place) -> Mounted:
    destination, _, options = place.text.partition(":")
    words = frozenset(options.split(","))
    return Mounted(
        place=place, kind=Kind.MEMORY, source="", destination=destination, read_only="ro" in words, options=words
    )


def _secret(place: Place) -> Mounted:
    name = place.text or place.get("source").text
    target = place.get("target").text or name
    destination = target if target.startswith("/") else f"/run/secrets/{target}"
    return Mounted(place=place, kind=Kind.SECRET, source=name, destination=destination, read_only=True)


def _services(workload: Workload) -> Iterator[Place]:
    return (container.place for container in workload.containers)


def host_namespaces(workload: Workload) -> Iterator[Fault]:
    """Namespaces of the host."""
    for service in _services(workload):
        for name in _HOST_MODES:
            field = service.get(name)
            if field.text == "host":
                yield Fault(field, field.shown)
        for name, network in service.get("networks").items():
            if name == "host":
                yield Fault(network, name)
        for network in service.get("networks").each():
            if network.text == "host":
                yield Fault(network, network.shown)


def shared_namespaces(workload: Workload) -> Iterator[Fault]:
    """Namespaces of another container."""
    for service in _services(workload):
        for name in ("network_mode", "pid", "ipc"):
            field = service.get(name)
            if field.text.startswith(("service:", "container:")) or field.text == "shareable":
                yield Fault(field, field.shown)


def user_namespace(workload: Workload) -> Iterator[Fault]:
    """The host's user namespace, asked for."""
    for service in _services(workload):
        field = service.get("userns_mode")
        if field.text == "host":
            yield Fault(field, field.shown)


def privileged(workload: Workload) -> Iterator[Fault]:
    """All rights."""
    for service in _services(workload):
        field = service.get("privileged")
        if field.is_true:
            yield Fault(field, field.shown)


def added_capabilities(workload: Workload) -> Iterator[Fault]:
    """Capabilities beyond those that the Pod Security Standards' baseline allows."""
    return _added(workload, BASELINE_CAPABILITIES)


def capabilities_dropped(workload: Workload) -> Iterator[Fault]:
    """Capabilities that stay."""
    for service in _services(workload):
        dropped = service.get("cap_drop")
        if "ALL" not in {_capability(place) for place in dropped.each()}:
            yield Fault(dropped, dropped.shown)
    yield from _added(workload, RESTRICTED_CAPABILITIES)


def _added(workload: Workload, allowed: frozenset[str]) -> Iterator[Fault]:
    for service in _services(workload):
        for place in service.get("cap_add").each():
            if _capability(place) not in allowed:
                yield Fault(place, place.shown)


def _capability(place: Place) -> str:
    return place.text.upper().removeprefix("CAP_")


def host_ports(workload: Workload) -> Iterator[Fault]:
    """Ports of the host."""
    for service in _services(workload):
        for place in service.get("ports").each():
            yield Fault(place, place.get("published").text or place.shown)


def _options(service: Place, *names: str) -> Iterator[tuple[Place, str]]:
    """`security_opt` values by name; both `name=value` and the older `name:value`."""
    for place in service.get("security_opt").each():
        name, _, value = place.text.replace(":", "=", 1).partition("=")
        if name in names:
            yield place, value


def apparmor(workload: Workload) -> Iterator[Fault]:
    """AppArmor switched off."""
    return _unconfined(workload, "apparmor")


def seccomp_unconfined(workload: Workload) -> Iterator[Fault]:
    """The filter on system calls switched off."""
    return _unconfined(workload, "seccomp")


def proc_mount(workload: Workload) -> Iterator[Fault]:
    """The masks of /proc and /sys taken away."""
    return _unconfined(workload, "systempaths")


def _unconfined(workload: Workload, name: str) -> Iterator[Fault]:
    for service in _services(workload):
        for place, value in _options(service, name):
            if value == "unconfined":
                yield Fault(place, place.shown)


def selinux(workload: Workload) -> Iterator[Fault]:
    """SELinux switched off or its user, role or type chosen."""
    for service in _services(workload):
        for place, value in _options(service, "label"):
            if value == "disable" or value.startswith(("user:", "role:", "type:")):
                yield Fault(place, place.shown)


def privilege_escalation(workload: Workload) -> Iterator[Fault]:
    """Set-user-id programs that may raise rights."""
    for service in _services(workload):
        values = [value for _, value in _options(service, "no-new-privileges")]
        if not values or "false" in values:
            place = service.get("security_opt")
            yield Fault(place, place.shown)


def run_as_root(workload: Workload) -> Iterator[Fault]:
    """Root inside, or whoever the image says."""
    for service in _services(workload):
        field = service.get("user")
        if field.text.partition(":")[0] in _ROOT | {""}:
            yield Fault(field, field.shown)


def sysctls(workload: Workload) -> Iterator[Fault]:
    """Kernel settings beyond the safe ones."""
    for service in _services(workload):
        for name, place in service.get("sysctls").items():
            if name not in SAFE_SYSCTLS:
                yield Fault(place, name)
        for place in service.get("sysctls").each():
            if place.text.partition("=")[0] not in SAFE_SYSCTLS:
                yield Fault(place, place.shown)


def writable_root(workload: Workload) -> Iterator[Fault]:
    """A root file system that can be written."""
    for service in _services(workload):
        field = service.get("read_only")
        if not field.is_true:
            yield Fault(field, field.shown)


def no_memory_limit(workload: Workload) -> Iterator[Fault]:
    """Memory without a bound."""
    return _no_limit(workload, "mem_limit", "memory")


def no_cpu_limit(workload: Workload) -> Iterator[Fault]:
    """Processor time without a bound."""
    return _no_limit(workload, "cpus", "cpus")


def no_process_limit(workload: Workload) -> Iterator[Fault]:
    """Processes without a bound."""
    return _no_limit(workload, "pids_limit", "pids")


def _no_limit(workload: Workload, field: str, resource: str) -> Iterator[Fault]:
    for service in _services(workload):
        place = service.get(field)
        given = {place.text, service.get("deploy", "resources", "limits", resource).text}
        if given <= {"", "0", "-1"}:
            yield Fault(place, place.shown)


def devices(workload: Workload) -> Iterator[Fault]:
    """Devices of the host."""
    for service in _services(workload):
        places = [service.get(name) for name in ("devices", "device_cgroup_rules", "gpus")]
        places.append(service.get("deploy", "resources", "reservations", "devices"))
        for place in places:
            if place.present and place.shown != "empty":
                yield Fault(place, place.shown)


def unseen_settings(workload: Workload) -> Iterator[Fault]:
    """Settings that lie in other files."""
    if workload.root.get("include").present:
        yield Fault(workload.root.get("include"), workload.root.get("include").shown)
    for service in _services(workload):
        other = service.get("extends", "file")
        if other.present:
            yield Fault(other, other.shown)


def without_network(service: Place) -> bool:
    """Whether a service has no network."""
    return service.get("network_mode").text == "none"
