"""A pod's members -> the component parts of a report."""

from __future__ import annotations

from collections.abc import Mapping

from veilbox.core.plan import Plan
from veilbox.oci.models.artifact import model_name
from veilbox.oci.trust.verify import Admission
from veilbox.orchestrate.launcher import Launcher
from veilbox.orchestrate.plan import DETECT
from veilbox.orchestrate.pod import Member, Pod
from veilbox.orchestrate.report import ComponentReport, ImageAdmission, IoBytes, Isolation, StartupMs


def component_reports(pod: Pod, plan: Plan, admissions: Mapping[str, Admission]) -> dict[str, ComponentReport]:
    """One report for each component, in the plan's order.

    Args:
        pod: The components.
        plan: What was planned.
        admissions: Why each image was let in, by component, and each model that is none's, as `model-NAME`; empty
            where components run without images.
    """
    return {
        container.name: _component(
            pod.members[container.name],
            str(container.image),
            admissions.get(container.name),
            admissions.get(model_name(container.name.removeprefix(DETECT))),
        )
        for container in plan.containers
    }


def _component(member: Member, image: str, admission: Admission | None, model: Admission | None) -> ComponentReport:
    cost = member.cost
    io = None
    if cost.read_bytes is not None and cost.written_bytes is not None:
        io = IoBytes(read=cost.read_bytes, written=cost.written_bytes)
    return ComponentReport(
        image_digest=image,
        root=member.launched.root,
        admission=None if admission is None else ImageAdmission.of(admission),
        model_digest=member.ready.model if member.ready else "",
        startup_ms=startup_ms(member),
        cpu_s=cost.cpu_s,
        memory_peak_bytes=cost.memory_peak_bytes,
        io_bytes=io,
        isolation=Isolation.of(member.measured),
        model_admission=None if model is None else ImageAdmission.of(model),
    )


def startup_ms(member: Member) -> StartupMs:
    """The four phases of a component's start, milliseconds each."""
    launched, hello, ready = member.launched, member.hello, member.ready
    if hello is None or ready is None:
        return StartupMs(create=launched.create_ms, start=0, import_=0, ready=0)
    first_ns = hello.first_ns or launched.start_ns
    return StartupMs(
        create=launched.create_ms,
        start=(first_ns - launched.start_ns) / 1e6,
        import_=(hello.imported_ns - first_ns) / 1e6,
        ready=(ready.ready_ns - hello.imported_ns) / 1e6,
    )


def startup_figures(pod: Pod, ready_ns: int, first_frame_ns: int) -> tuple[float, float, float]:
    """Milliseconds from the first runtime call: last container's first instruction, all ready, first clean frame."""
    firsts = [member.hello.first_ns for member in pod.members.values() if member.hello]
    started = max([*firsts, pod.launch_ns])
    first_frame = max(first_frame_ns, pod.launch_ns)
    return tuple_ms(pod.launch_ns, started, ready_ns, first_frame)


def tuple_ms(origin_ns: int, *moments_ns: int) -> tuple[float, float, float]:
    """Three moments in milliseconds after an origin."""
    first, second, third = ((moment - origin_ns) / 1e6 for moment in moments_ns)
    return first, second, third


def peak_bytes(pod: Pod, launcher: Launcher) -> int:
    """The most that all components held at once; where it is not told, the sum of their peaks, which is no less."""
    together = launcher.memory_peak_bytes()
    if together:
        return together
    return sum(member.cost.memory_peak_bytes or 0 for member in pod.members.values())
