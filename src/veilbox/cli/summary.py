"""A report as a person reads it."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from veilbox.cli.weak_walls import SEALED_PROCESSES
from veilbox.core.errors import printable
from veilbox.orchestrate.report import ComponentReport, Report

# Outputs beyond this many are counted rather than listed.
_LISTED = 10


def print_summary(report: Report) -> None:
    """Print frames, faces, speed, cost and walls of every component, and where the outputs lie."""
    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(_components(report))
    console.print(_figures(report))
    for output in report.outputs[:_LISTED]:
        console.print(f"released  {printable(output.path)}", soft_wrap=True)
    if len(report.outputs) > _LISTED:
        console.print(f"released  … and {len(report.outputs) - _LISTED} more")
    if "keeps-metadata" in report.warnings:
        console.print("warning   the policy keeps metadata that can say where, when and by whom a picture was taken")
    if "keeps-zones" in report.warnings:
        kept = sum(output.kept for output in report.outputs)
        console.print(f"warning   the policy has zones that keep: {kept} detections stayed visible")
    if "sealed-processes" in report.warnings:
        console.print(f"warning   {SEALED_PROCESSES} (see isolation)")
    for failure in report.failures:
        word = "withheld" if failure.quarantine else "failed"
        console.print(f"{word:<10}{failure.message}", soft_wrap=True)
    if report.skipped:
        console.print(f"skipped   {report.skipped} files that are neither images nor films")


def _figures(report: Report) -> str:
    metrics = report.metrics
    frames = sum(output.frames for output in report.outputs)
    counts = ", ".join(f"{count} {name} tracks" for name, count in report.counts.items()) or "nothing found"
    covered = ", ".join(f"{count} {name}" for name, count in report.covered.items())
    seen = {name: sum(output.seen.get(name, 0) for output in report.outputs) for name in ("whole", "parts", "not")}
    latency = metrics.latency_ms
    return "\n".join(
        (
            f"frames    {frames} in {len(report.outputs)} files, {metrics.fps:.1f} fps, {metrics.wall_s:.2f} s in all",
            f"searched  {seen['whole']} frames whole, {seen['parts']} in parts, {seen['not']} known from both sides",
            f"hidden    {counts} (boxes: {covered})",
            f"verified  {_verified(report)}",
            f"latency   p50 {latency.p50:.0f} ms, p95 {latency.p95:.0f} ms, p99 {latency.p99:.0f} ms, decode to encode",
            f"start-up  {_startup(report)}",
            f"memory    {metrics.memory_peak_bytes / 1e6:.0f} MB, all components together at most",
            f"runtime   {report.runtime}, kernel {report.kernel}",
        )
    )


def _verified(report: Report) -> str:
    seen = [output.verification for output in report.outputs]
    found = sum(len(one.findings) + one.omitted for one in seen)
    return (
        f"{sum(one.frames for one in seen)} frames decoded, {sum(one.regions for one in seen)} regions looked at, "
        f"{sum(one.searched for one in seen)} frames searched again, {found} findings in what was released"
    )


def _startup(report: Report) -> str:
    metrics = report.metrics
    return (
        f"containers {metrics.containers_started_ms:.0f} ms, ready {metrics.ready_ms:.0f} ms, "
        f"first clean frame {metrics.first_clean_frame_ms:.0f} ms"
    )


def _components(report: Report) -> Table:
    table = Table(
        title=f"veilbox {report.veilbox}, job {report.job}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("component", no_wrap=True)
    for heading in ("create", "start", "import", "ready", "cpu", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("isolation", no_wrap=True)
    table.add_row("", "ms", "ms", "ms", "ms", "s", "MB", "")
    for name, component in report.components.items():
        table.add_row(name, *_row(component))
    return table


def _row(component: ComponentReport) -> tuple[str, ...]:
    startup = component.startup_ms
    phases = (startup.create, startup.start, startup.import_, startup.ready)
    cpu = "?" if component.cpu_s is None else f"{component.cpu_s:.2f}"
    memory = "?" if component.memory_peak_bytes is None else f"{component.memory_peak_bytes / 1e6:.0f}"
    walls = f"{component.isolation.level} {component.isolation.label}"
    return (*(f"{phase:.0f}" for phase in phases), cpu, memory, walls)
