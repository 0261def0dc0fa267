"""Policy -> Plan: which components a job needs, what each sees and what each may use.

Pure: nothing here touches the machine, so a plan can be read, compared and rendered anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError
from veilbox.core.frame import MAX_PIXELS
from veilbox.core.plan import SUPERVISOR, Container, Edge, Limits, Mount, Plan, Volume
from veilbox.core.policy import Keep, Policy

_MIB = 1 << 20
# A ring may use this much for its slots; a frame so large that two do not fit gets two all the same.
RING_BYTES = 256 * _MIB
# Two frames of the largest picture in its widest format (RGBA), and the header's page.
_FRAME_VOLUME_BYTES = 2 * MAX_PIXELS * 4 + 4096
# Four analysis pictures of the largest side that a policy may ask for, 4096x4096 RGB.
_ANALYSIS_VOLUME_BYTES = 4 * 4096 * 4096 * 3 + 4096

RINGS = "/rings"

# Measured peaks at 1920x1080 are 60 to 200 MiB (benchmarks/history); the bounds leave room for the largest picture:
# its decoded form, its slots in the ring and one private copy.
_PIXELS = Limits(memory_bytes=3072 * _MIB, pids=32, cpus=0)
_DETECT = Limits(memory_bytes=1536 * _MIB, pids=32, cpus=0)
_AUDIT = Limits(memory_bytes=128 * _MIB, pids=8, cpus=0.5)
# For a component that writes no file: the runtime writes its own notes under the component's limit.
_LEAST_FILE_BYTES = 1 << 20
# Libraries make threads by the number of processors: decoders one each, x264 one and a half, SVT-AV1 up to three.
_THREADS_PER_CPU = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What an admitted image says about how it runs, and the system calls that its component needs."""

    image: Digest
    args: tuple[str, ...]
    env: tuple[str, ...]
    syscalls: tuple[str, ...] = ()
    model: Digest | None = None


# How the names of detect components begin; what follows is the model.
DETECT = "detect-"
# The components that are handed files to write: outputs, and the log.
EXPORT, AUDIT = "export", "audit"
# The component that puts manifests into outputs.
CLAIM = "claim"
# The component that looks at outputs.
VERIFY = "verify"
# How the names of the detectors begin that verify asks; what follows is the model.
SECOND = "second-"

# The classes of COCO that are hidden: people, what they drive, and what shows something.
OBJECTS = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "tv", "laptop", "cell phone")
# Which built-in detector knows which class.
DETECTORS = MappingProxyType(
    {"face": "detect-centerface", "plate": "detect-plates"} | dict.fromkeys(OBJECTS, "detect-objects")
)
# Classes on which verify has a second opinion: from the same image with its own model, whatever the first look runs.
_SECOND_OPINIONS = ("face", "plate")


def detectors(policy: Policy) -> tuple[str, ...]:
    """The detect components that the policy's classes need, by image name, in the order of `DETECTORS`.

    Raises:
        UsageError: No detector knows one of the classes, or there is no class.
    """
    wanted = policy.detection.classes
    unknown = [name for name in wanted if name not in DETECTORS]
    if unknown or not wanted:
        raise UsageError(
            "nothing detects this class", where="--hide", expected=", ".join(DETECTORS), actual=", ".join(unknown)
        )
    return tuple(dict.fromkeys(detector for name, detector in DETECTORS.items() if name in wanted))


def second_detectors(policy: Policy) -> dict[str, str]:
    """The components of the second look and the images that they run, for the classes that have a second opinion."""
    images = (DETECTORS[name] for name in _SECOND_OPINIONS if name in policy.detection.classes)
    return {f"{SECOND}{image.removeprefix(DETECT)}": image for image in images}


def detectors_of(plan: Plan) -> tuple[str, ...]:
    """The detect components of a plan, in its order."""
    return tuple(container.name for container in plan.containers if container.name.startswith(DETECT))


def second_detectors_of(plan: Plan) -> tuple[str, ...]:
    """The components of a plan's second look, in its order."""
    return tuple(container.name for container in plan.containers if container.name.startswith(SECOND))


def anonymize_plan(
    policy: Policy,
    programs: Mapping[str, Program],
    *,
    cpus: int,
    detect: tuple[str, ...] = (),
    output_bytes: int | None = None,
) -> Plan:
    """The pod that anonymises.

    Args:
        policy: The job's.
        programs: By image name, for every component of the plan.
        cpus: Processors of the machine; a component may use them all unless its limits say less.
        detect: The detect components, where they are not those of the policy's classes.
        output_bytes: The largest output that export may write; None for no bound.

    Returns:
        ingest, the detectors, anonymize, export, claim where outputs get manifests, verify with the detectors of its
        own, and audit, with one volume for each ring.
    """
    detect = detect or detectors(policy)
    second = tuple(second_detectors(policy))
    edges = [
        Edge(name="raw", producer="ingest", consumers=("anonymize",), volume="raw"),
        Edge(name="analysis", producer="ingest", consumers=detect, volume="analysis"),
        *(Edge(name="boxes", producer=name, consumers=("anonymize",)) for name in detect),
        Edge(name="clean", producer="anonymize", consumers=("export",), volume="clean"),
        Edge(name="regions", producer="anonymize", consumers=(VERIFY,)),
    ]
    if Keep.AUDIO in policy.keep:
        edges.append(Edge(name="audio", producer="ingest", consumers=("export",)))
    claim = (CLAIM,) if policy.c2pa else ()
    names = ("ingest", *detect, "anonymize", EXPORT, *claim, VERIFY, *second, AUDIT)
    volumes = [
        Volume(name="raw", size_bytes=_FRAME_VOLUME_BYTES),
        Volume(name="analysis", size_bytes=_ANALYSIS_VOLUME_BYTES),
        Volume(name="clean", size_bytes=_FRAME_VOLUME_BYTES),
    ]
    if second:
        edges.append(Edge(name="second", producer=VERIFY, consumers=second, volume="second"))
        edges.extend(Edge(name="boxes", producer=name, consumers=(VERIFY,)) for name in second)
        volumes.append(Volume(name="second", size_bytes=_ANALYSIS_VOLUME_BYTES))
    writers = {EXPORT: output_bytes, AUDIT: None} | dict.fromkeys(claim, output_bytes)
    return _plan(names, tuple(volumes), edges, programs, cpus, writers)


def detect_plan(policy: Policy, programs: Mapping[str, Program], *, cpus: int, detect: tuple[str, ...] = ()) -> Plan:
    """The pod that only detects: boxes leave it as numbers, and no component sees a full frame but ingest."""
    detect = detect or detectors(policy)
    edges = [
        Edge(name="analysis", producer="ingest", consumers=detect, volume="analysis"),
        *(Edge(name="boxes", producer=name, consumers=(SUPERVISOR,)) for name in detect),
    ]
    volumes = (Volume(name="analysis", size_bytes=_ANALYSIS_VOLUME_BYTES),)
    return _plan(("ingest", *detect), volumes, edges, programs, cpus)


def attack_plan(policy: Policy, programs: Mapping[str, Program], *, cpus: int, detect: tuple[str, ...] = ()) -> Plan:
    """The pod that tries redaction: anonymize sees frames and boxes, and has no edge on which they could leave."""
    detect = detect or detectors(policy)
    edges = [
        Edge(name="raw", producer="ingest", consumers=("anonymize",), volume="raw"),
        Edge(name="analysis", producer="ingest", consumers=detect, volume="analysis"),
        *(Edge(name="boxes", producer=name, consumers=("anonymize",)) for name in detect),
    ]
    volumes = (
        Volume(name="raw", size_bytes=_FRAME_VOLUME_BYTES),
        Volume(name="analysis", size_bytes=_ANALYSIS_VOLUME_BYTES),
    )
    return _plan(("ingest", *detect, "anonymize"), volumes, edges, programs, cpus)


def audit_plan(programs: Mapping[str, Program], *, cpus: int) -> Plan:
    """The pod that is told of what no job does: audit alone."""
    return _plan((AUDIT,), (), (), programs, cpus, {AUDIT: None})


def trial_plan(name: str, programs: Mapping[str, Program], *, cpus: int) -> Plan:
    """One detector without edges: it loads its model, looks at one blank picture, and sees nothing else."""
    return _plan((name,), (), (), programs, cpus)


def _plan(
    names: Sequence[str],
    volumes: tuple[Volume, ...],
    edges: Sequence[Edge],
    programs: Mapping[str, Program],
    cpus: int,
    writers: Mapping[str, int | None] = MappingProxyType({}),
) -> Plan:
    """The plan; `writers` has the bounds of components that are handed files to write, the others write rings only."""
    bounds: dict[str, int | None] = {name: _largest_ring(name, volumes, edges) for name in names}
    bounds |= writers
    containers = tuple(_container(name, programs[name], edges, cpus, bounds[name]) for name in names)
    return Plan(containers=containers, volumes=volumes, edges=tuple(edges))


def _largest_ring(name: str, volumes: Sequence[Volume], edges: Sequence[Edge]) -> int:
    """The largest file that a component may write into its own rings."""
    own = {edge.volume for edge in edges if edge.producer == name}
    return max((volume.size_bytes for volume in volumes if volume.name in own), default=_LEAST_FILE_BYTES)


def _container(name: str, program: Program, edges: Sequence[Edge], cpus: int, file_bytes: int | None) -> Container:
    mounts = tuple(
        Mount(volume=edge.volume, destination=f"{RINGS}/{edge.volume}", read_only=edge.producer != name)
        for edge in edges
        if edge.volume is not None and name in (edge.producer, *edge.consumers)
    )
    limits = _limits(name)
    return Container(
        name=name,
        image=program.image,
        args=(*program.args, name),
        env=program.env,
        mounts=mounts,
        limits=Limits(
            memory_bytes=limits.memory_bytes,
            pids=limits.pids + _THREADS_PER_CPU * cpus,
            cpus=min(limits.cpus or cpus, cpus),
            file_bytes=file_bytes,
        ),
        syscalls=program.syscalls,
        model=program.model,
    )


def _limits(name: str) -> Limits:
    if name == AUDIT:
        return _AUDIT
    return _DETECT if name.startswith((DETECT, SECOND)) else _PIXELS
