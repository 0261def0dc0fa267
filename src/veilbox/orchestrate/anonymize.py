"""Job -> report: run the anonymising pod once over all items of a job."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import veilbox
from veilbox.core.job import Job
from veilbox.core.plan import Plan
from veilbox.metrics.histogram import Histogram, middle
from veilbox.oci.image.store import ImageStore
from veilbox.oci.trust.verify import Admission
from veilbox.orchestrate.audit_log import open_log
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.claims import Claims, check_formats
from veilbox.orchestrate.image_sboms import image_sboms
from veilbox.orchestrate.launcher import Launcher
from veilbox.orchestrate.machine import engine, runtimes
from veilbox.orchestrate.models import chosen_models
from veilbox.orchestrate.plan import AUDIT, CLAIM, anonymize_plan, second_detectors
from veilbox.orchestrate.pod import Pod
from veilbox.orchestrate.progress import Progress
from veilbox.orchestrate.quarantine import Quarantine
from veilbox.orchestrate.release import AnonymizeRun
from veilbox.orchestrate.report import LatencyMs, Metrics, Report, Throughput, report_digest_json
from veilbox.orchestrate.report_parts import component_reports, peak_bytes, startup_figures
from veilbox.orchestrate.retention import SourceRetention, check_sources
from veilbox.orchestrate.staging import largest_output
from veilbox.seal.canary import planted
from veilbox.vault.signing_credential import SigningCredential

# The components of every anonymising pod; detectors come beside them, and claim where outputs get manifests.
FIXED = ("ingest", "anonymize", "export", "verify", "audit")


def anonymize(job: Job, *, store: ImageStore, progress: Progress) -> Report:
    """Anonymise every item of a job in sealed containers.

    Args:
        job: Items with outputs, and the policy.
        store: Component images and the audit log.
        progress: Told of every step.

    Returns:
        The report; its failures list sources of a folder that gave no output.

    Raises:
        VeilboxError: The job ended; what was not released before does not exist.
    """
    began = time.monotonic()
    check_sources(job.items, job.policy)
    check_formats(job.items, job.policy)
    if job.policy.c2pa:
        SigningCredential.of(store.root)
    progress.phase("admitting images")
    second = second_detectors(job.policy)
    detect = partial(chosen_models, store, job.policy)
    names = (*FIXED, CLAIM) if job.policy.c2pa else FIXED
    with engine(store, names, detect=detect, second=second, runtimes=runtimes(job.policy)) as machine:
        plan = anonymize_plan(
            job.policy,
            machine.programs,
            cpus=machine.cpus,
            detect=machine.detectors,
            output_bytes=largest_output(item.output for item in job.items if item.output is not None),
        )
        return run_plan(
            job,
            plan,
            machine.launcher,
            log_root=store.root,
            progress=progress,
            job_id=machine.job_id,
            began=began,
            admissions=machine.admissions,
            sboms=image_sboms(store, machine.images),
        )


def run_plan(
    job: Job,
    plan: Plan,
    launcher: Launcher,
    *,
    log_root: Path,
    progress: Progress,
    job_id: str,
    began: float,
    admissions: Mapping[str, Admission] = MappingProxyType({}),
    sboms: Mapping[str, bytes] = MappingProxyType({}),
) -> Report:
    """Run an anonymising plan with any launcher; `anonymize` is this with containers and their images' admissions."""
    progress.phase("starting containers")
    with open_log(log_root) as log, planted() as canaries, Pod(plan, launcher, job.policy, canaries) as pod:
        pod.await_ready()
        ready_ns = time.monotonic_ns()
        trail = AuditTrail(pod, log, job_id, job.policy)
        trail.begin(job, plan, admissions, runtime=launcher.runtime, kernel=os.uname().release, sboms=sboms)
        progress.phase("anonymizing")
        opened = time.monotonic()
        retention = SourceRetention(job.policy.retention, log_root, job_id, trail)
        quarantine = Quarantine(log_root, job_id)
        claims = Claims(pod, SigningCredential.of(log_root), trail.claim) if job.policy.c2pa else None
        run = AnonymizeRun(job, pod, trail, progress, plan, retention, quarantine, claims)
        try:
            run.run()
        except BaseException as error:
            trail.fail(error, released=len(run.outputs))
            raise
        worked_s = time.monotonic() - opened
        pod.finish(but=(AUDIT,))
        startup = startup_figures(pod, ready_ns, run.first_frame_ns)
        report = Report(
            veilbox=veilbox.__version__,
            job=job_id,
            outputs=tuple(run.outputs),
            failures=tuple(run.failures),
            skipped=job.skipped,
            counts=_summed(output.counts for output in run.outputs),
            covered=_summed(output.covered for output in run.outputs),
            metrics=_metrics(run, startup, worked_s, time.monotonic() - began, peak_bytes(pod, launcher)),
            components=component_reports(pod, plan, admissions),
            runtime=launcher.runtime,
            kernel=os.uname().release,
            policy=job.policy,
            audit=None,
            warnings=job.policy.warnings,
        )
        failures = tuple(zip(run.failed_items, run.failures, strict=True))
        reference = trail.end(run.outputs, failures, report_digest_json(report))
        pod.finish()
        return replace(report, audit=reference)


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _metrics(
    run: AnonymizeRun, startup: tuple[float, float, float], worked_s: float, wall_s: float, peak: int
) -> Metrics:
    latency = run.latency_us
    frames = sum(output.frames for output in run.outputs)
    pixels = sum(output.frames * output.width * output.height for output in run.outputs)
    seconds = max(worked_s, 1e-9)
    started_ms, ready_ms, first_ms = startup
    return Metrics(
        fps=frames / seconds,
        wall_s=wall_s,
        latency_ms=LatencyMs(
            p50=_ms(latency, 0.5), p95=_ms(latency, 0.95), p99=_ms(latency, 0.99), histogram=_octaves(latency)
        ),
        throughput=Throughput(
            input_bytes_per_s=run.input_bytes / seconds,
            output_bytes_per_s=sum(output.bytes for output in run.outputs) / seconds,
            megapixels_per_s=pixels / seconds / 1e6,
        ),
        containers_started_ms=started_ms,
        ready_ms=ready_ms,
        first_clean_frame_ms=first_ms,
        memory_peak_bytes=peak,
    )


def _octaves(latency: Histogram) -> tuple[tuple[float, int], ...]:
    """Frames by latency in quarters of an octave: upper end in milliseconds, and how many."""
    parts: Counter[int] = Counter()
    for index, times in latency.packed():
        parts[math.ceil(4 * math.log2(max(middle(index), 1)))] += times
    return tuple((round(2 ** (part / 4) / 1000, 3), times) for part, times in sorted(parts.items()))


def _ms(latency: Histogram, q: float) -> float:
    return (latency.quantile(q) or 0) / 1000
