"""Files -> findings. Pure: bytes come from the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from veilbox.core.errors import UsageError
from veilbox.scan import compose, kubernetes, oci_config
from veilbox.scan.reading import parse
from veilbox.scan.rule import Fault, Finding, Profile, Rule
from veilbox.scan.rules import RULES
from veilbox.scan.suppression import Suppression, apply
from veilbox.scan.tree import Place
from veilbox.scan.workload import Contained, Format, Workload

_RECOGNISED = "Kubernetes manifests, Compose files or OCI config.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A file that could not be judged, or could only in part."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """The result.

    Attributes:
        findings: In the order of files, lines and rules; suppressed ones too.
        unreadable: Files that say nothing: a clean result is not claimed for them.
        files: Files that were recognised.
        skipped: Files found in folders that are none of the three formats.
        workloads: Pods, Compose files and bundles that were judged.
        idle: Suppressions that covered nothing.
    """

    findings: tuple[Finding, ...]
    unreadable: tuple[Unreadable, ...]
    files: int
    skipped: int
    workloads: int
    idle: tuple[Suppression, ...]

    @property
    def open(self) -> tuple[Finding, ...]:
        """The findings that nobody took on himself."""
        return tuple(finding for finding in self.findings if not finding.suppressed)


def scan(
    files: Mapping[str, bytes],
    profile: Profile,
    *,
    named: Iterable[str] = (),
    suppressions: Iterable[Suppression] = (),
    today: date,
) -> Scanned:
    """Judge configuration.

    Args:
        files: Content by name.
        profile: The set of rules.
        named: Those that were asked for by name: if one is none of the formats, that is an error, not a file to skip.
        suppressions: From a file.
        today: For suppressions that end.
    """
    documents, unreadable, skipped = _read(files, frozenset(named))
    peers = tuple(_policies(documents))
    given = tuple(suppressions)
    findings: list[Finding] = []
    workloads = 0
    for file, places in documents.items():
        try:
            for number, workload in _workloads(places, peers):
                workloads += 1
                findings += _judged(file, number, workload, profile, given, today)
        except UsageError as error:
            unreadable.append(Unreadable(file=file, reason=str(error)))
    used = {line for line in given for finding in findings if line.covers(finding, today)}
    return Scanned(
        findings=tuple(sorted(findings, key=lambda one: (one.file, one.document, one.line, one.rule.id, one.path))),
        unreadable=tuple(unreadable),
        files=len(documents),
        skipped=skipped,
        workloads=workloads,
        idle=tuple(line for line in given if line not in used),
    )


def rules_of(profile: Profile) -> tuple[Rule, ...]:
    """The rules of a profile, in the table's order."""
    return tuple(rule for rule in RULES if profile in rule.profiles)


_Documents = dict[str, list[Place]]


def _read(files: Mapping[str, bytes], named: frozenset[str]) -> tuple[_Documents, list[Unreadable], int]:
    documents: _Documents = {}
    unreadable: list[Unreadable] = []
    skipped = 0
    for file, data in files.items():
        try:
            places = [Place.root(node) for node in parse(data)]
        except UsageError as error:
            unreadable.append(Unreadable(file=file, reason=str(error)))
            continue
        if any(_format(place) for place in places):
            documents[file] = places
        elif file in named:
            unreadable.append(Unreadable(file=file, reason=f"None of {_RECOGNISED}."))
        else:
            skipped += 1
    return documents, unreadable, skipped


def _format(place: Place) -> Format | None:
    if oci_config.is_oci(place):
        return Format.OCI
    if kubernetes.is_kubernetes(place):
        return Format.KUBERNETES
    return Format.COMPOSE if compose.is_compose(place) else None


def _policies(documents: _Documents) -> Iterator[Place]:
    for places in documents.values():
        for place in places:
            for manifest in kubernetes.objects(place):
                if manifest.get("kind").text == "NetworkPolicy":
                    yield manifest


def _workloads(places: Iterable[Place], peers: tuple[Place, ...]) -> Iterator[tuple[int, Workload]]:
    for number, place in enumerate(places, start=1):
        match _format(place):
            case Format.OCI:
                yield number, oci_config.bundle(place)
            case Format.COMPOSE:
                yield number, compose.project(place)
            case Format.KUBERNETES:
                pods = (kubernetes.pod(manifest, peers) for manifest in kubernetes.objects(place))
                yield from ((number, pod) for pod in pods if pod is not None)
            case None:
                continue


def _judged(
    file: str,
    number: int,
    workload: Workload,
    profile: Profile,
    suppressions: tuple[Suppression, ...],
    today: date,
) -> Iterator[Finding]:
    for rule in rules_of(profile):
        check = rule.checks.get(workload.format)
        for fault in check(workload) if check else ():
            container = _container_of(workload, fault)
            finding = _finding(file, number, workload, rule, fault, container)
            yield apply(finding, suppressions, _annotations(workload, container), today)


def _finding(
    file: str, number: int, workload: Workload, rule: Rule, fault: Fault, container: Contained | None
) -> Finding:
    name = container.name if container is not None and workload.format is not Format.OCI else ""
    return Finding(
        rule=rule,
        file=file,
        document=number,
        line=fault.place.line,
        column=fault.place.column,
        path=fault.place.path,
        subject=f"{workload.name}/{name}" if name else workload.name,
        found=fault.found,
    )


def _container_of(workload: Workload, fault: Fault) -> Contained | None:
    for container in workload.containers:
        rest = fault.place.path.removeprefix(container.place.path)
        if rest != fault.place.path and rest[:1] in {"", ".", "["}:
            return container
    return None


def _annotations(workload: Workload, container: Contained | None) -> tuple[Place, ...]:
    if workload.format is Format.COMPOSE:
        return (container.place.get("labels"),) if container is not None else ()
    return workload.annotations
