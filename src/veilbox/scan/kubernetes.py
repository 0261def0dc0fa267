"""Kubernetes manifests: every pod in a document, and the checks beside the Pod Security Standards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from veilbox.core.errors import UsageError
from veilbox.scan.rule import Fault
from veilbox.scan.tree import Place
from veilbox.scan.workload import Contained, Format, Kind, Mounted, Workload

# Where the pod template lies. Source: Kubernetes API reference 1.35, workload resources.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "Job": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
# Operators of a label selector, and whether they take values: NotIn is also met where there is no such label.
# Source: Kubernetes API reference 1.35, LabelSelectorRequirement.
_OPERATORS: Mapping[str, bool] = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_MEMORY = frozenset({"emptyDir", "configMap", "downwardAPI", "projected"})


def is_kubernetes(document: Place) -> bool:
    """Whether a document is an object of a Kubernetes API."""
    return bool(document.get("apiVersion").text and document.get("kind").text)


def objects(document: Place) -> Iterator[Place]:
    """The object, or those of a list."""
    if document.get("kind").text.endswith("List") and document.get("items").is_sequence:
        for item in document.get("items").each():
            yield from objects(item)
    else:
        yield document


def pod(manifest: Place, peers: tuple[Place, ...] = ()) -> Workload | None:
    """The pod that an object makes; None if it makes none.

    Raises:
        UsageError: The object should have a pod and has not.
    """
    kind = manifest.get("kind").text
    if kind not in _TEMPLATES:
        return None
    template = manifest.get(*_TEMPLATES[kind])
    spec = template.get("spec")
    if not spec.get("containers").is_sequence:
        raise UsageError("no list of containers", where=spec.path, expected=f"a {kind}'s pod")
    labels = tuple((key, place.text) for key, place in template.get("metadata", "labels").items())
    return Workload(
        format=Format.KUBERNETES,
        name=f"{kind}/{manifest.get('metadata', 'name').text or manifest.get('metadata', 'generateName').text or '?'}",
        root=manifest,
        spec=spec,
        containers=tuple(_contained(place, spec) for place in containers(spec)),
        labels=labels,
        annotations=(manifest.get("metadata", "annotations"), template.get("metadata", "annotations")),
        peers=peers,
    )


def containers(spec: Place) -> Iterator[Place]:
    """Init, ordinary and ephemeral containers."""
    for name in _CONTAINER_LISTS:
        yield from spec.get(name).each()


def _contained(place: Place, spec: Place) -> Contained:
    volumes = {volume.get("name").text: volume for volume in spec.get("volumes").each()}
    words = [word.text for field in ("command", "args") for word in place.get(field).each()]
    return Contained(
        place=place,
        name=place.get("name").text,
        words=tuple(words),
        image=place.get("image"),
        mounts=tuple(_mounted(mount, volumes) for mount in place.get("volumeMounts").each()),
    )


def _mounted(mount: Place, volumes: Mapping[str, Place]) -> Mounted:
    name = mount.get("name").text
    volume = volumes.get(name)
    kind, source = _origin(volume, name)
    return Mounted(
        place=mount,
        kind=kind,
        source=source,
        destination=mount.get("mountPath").text,
        read_only=mount.get("readOnly").is_true or _never_writable(volume),
        propagation=mount.get("mountPropagation").text.replace("None", ""),
    )


def _origin(volume: Place | None, name: str) -> tuple[Kind, str]:
    if volume is None:
        return Kind.VOLUME, name  # of a StatefulSet's claims
    if volume.get("hostPath").present:
        return Kind.HOST, volume.get("hostPath", "path").text
    if _holds_secret(volume):
        return Kind.SECRET, name
    if any(volume.get(field).present for field in _MEMORY):
        return Kind.MEMORY, name
    return Kind.VOLUME, name


def _holds_secret(volume: Place) -> bool:
    sources = volume.get("projected", "sources").each()
    return volume.get("secret").present or any(source.get("secret").present for source in sources)


def _never_writable(volume: Place | None) -> bool:
    # Since Kubernetes 1.9.6 the kubelet mounts these read-only whatever the pod says.
    fields = ("secret", "configMap", "downwardAPI", "projected")
    return volume is not None and any(volume.get(field).present for field in fields)


def user_namespace(workload: Workload) -> Iterator[Fault]:
    """The node's user namespace instead of one of its own."""
    host_users = workload.spec.get("hostUsers")
    if host_users.scalar is not False:
        yield Fault(host_users, host_users.shown)


def shared_processes(workload: Workload) -> Iterator[Fault]:
    """Containers of the pod that see each other's processes."""
    shared = workload.spec.get("shareProcessNamespace")
    if shared.is_true:
        yield Fault(shared, shared.shown)


def api_token(workload: Workload) -> Iterator[Fault]:
    """The cluster's API token in the container."""
    mounted = workload.spec.get("automountServiceAccountToken")
    if mounted.scalar is not False:
        yield Fault(mounted, mounted.shown)


def writable_root(workload: Workload) -> Iterator[Fault]:
    """A root file system that can be written."""
    for container in containers(workload.spec):
        field = container.get("securityContext", "readOnlyRootFilesystem")
        if not field.is_true:
            yield Fault(field, field.shown)


def no_memory_limit(workload: Workload) -> Iterator[Fault]:
    """Memory without a bound."""
    return _no_limit(workload, "memory")


def no_cpu_limit(workload: Workload) -> Iterator[Fault]:
    """Processor time without a bound."""
    return _no_limit(workload, "cpu")


def _no_limit(workload: Workload, resource: str) -> Iterator[Fault]:
    whole_pod = workload.spec.get("resources", "limits", resource)  # pod-level resources, Kubernetes 1.34
    for name in ("initContainers", "containers"):  # an ephemeral container cannot have limits
        for container in workload.spec.get(name).each():
            limit = container.get("resources", "limits", resource)
            if not limit.text and not whole_pod.text:
                yield Fault(limit, limit.shown)


def devices(workload: Workload) -> Iterator[Fault]:
    """Devices of the node: raw block volumes, resources of device plugins, claims."""
    for container in containers(workload.spec):
        for device in container.get("volumeDevices").each():
            yield Fault(device, device.get("devicePath").shown)
        for name, limit in container.get("resources", "limits").items():
            # Extended resources are named DOMAIN/NAME; huge pages and the kernel's own are not.
            if "/" in name and not name.startswith("kubernetes.io/"):
                yield Fault(limit, name)
    for claim in workload.spec.get("resourceClaims").each():
        yield Fault(claim, claim.get("name").shown)


def secret_in_environment(workload: Workload) -> Iterator[Fault]:
    """Secrets as environment variables."""
    for container in containers(workload.spec):
        for variable in container.get("env").each():
            if variable.get("valueFrom", "secretKeyRef").present:
                yield Fault(variable, variable.get("name").shown)
        for source in container.get("envFrom").each():
            if source.get("secretRef").present:
                yield Fault(source, source.get("secretRef", "name").shown)


def no_network_policy(workload: Workload) -> Iterator[Fault]:
    """No NetworkPolicy among the scanned files selects the pod."""
    namespace = workload.root.get("metadata", "namespace").text
    policies = [policy for policy in workload.peers if policy.get("metadata", "namespace").text == namespace]
    if not any(_selects(policy, dict(workload.labels)) for policy in policies):
        yield Fault(workload.spec, f"{len(policies)} policies in its namespace")


def closed_by_policy(workload: Workload) -> bool:
    """Whether a NetworkPolicy among the scanned files leaves the pod no traffic in or out.

    Policies add up what they allow, so every policy that selects the pod must allow nothing, and together they must
    name both directions. A selector that is not understood selects the pod if it allows something, else not.
    """
    namespace = workload.root.get("metadata", "namespace").text
    closed: set[str] = set()
    for policy in workload.peers:
        if policy.get("metadata", "namespace").text != namespace:
            continue
        selects = _selects(policy, dict(workload.labels))
        types = {place.text for place in policy.get("spec", "policyTypes").each()}
        opened = any(any(policy.get("spec", way).each()) for way in ("ingress", "egress"))
        if opened and selects is not False:
            return False
        if selects:
            closed |= types
    return closed >= {"Ingress", "Egress"}


def _selects(policy: Place, labels: Mapping[str, str]) -> bool | None:
    """Whether it selects the pod; None if that cannot be told."""
    selector = policy.get("spec", "podSelector")
    if any(labels.get(key) != place.text for key, place in selector.get("matchLabels").items()):
        return False
    answers = [_meets(expression, labels) for expression in selector.get("matchExpressions").each()]
    if False in answers:
        return False
    malformed = selector.get("matchExpressions").present and not selector.get("matchExpressions").is_sequence
    return None if None in answers or malformed else True


def _meets(expression: Place, labels: Mapping[str, str]) -> bool | None:
    """Whether labels meet one requirement of a selector; None if it is none that a cluster would accept."""
    key, operator = expression.get("key").text, expression.get("operator").text
    values = {value.text for value in expression.get("values").each()}
    # Only the first two compare with values, and they need some.
    if not key or operator not in _OPERATORS or bool(values) is not _OPERATORS[operator]:
        return None
    there = key in labels and (not values or labels[key] in values)
    return there is (operator in {"In", "Exists"})
