"""The published schema is the one that the code writes by."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from veilbox.core.findings import Finding, FindingKind, Look
from veilbox.core.policy import Policy, Verdict
from veilbox.orchestrate.launcher import Root
from veilbox.orchestrate.report import (
    AuditReference,
    Checked,
    ComponentReport,
    ImageAdmission,
    IoBytes,
    Isolation,
    LatencyMs,
    Metrics,
    Output,
    Report,
    SourceFailure,
    StartupMs,
    Throughput,
    report_json,
    report_schema,
)

PUBLISHED = Path(__file__).parents[2] / "docs/reference/report.schema.json"


FOUND = Finding(kind=FindingKind.RESIDUAL, what="face", score=0.5, first=1, last=1, looks=(Look(frame=1, score=0.5),))
CHECKED = Checked(verdict=Verdict.RELEASE, frames=1, regions=1, searched=1, side=960, findings=(FOUND,), omitted=0)


@pytest.fixture
def report() -> Report:
    component = ComponentReport(
        root=Root.OVERLAY,
        image_digest="sha256:0",
        admission=ImageAdmission(version="1", keys=("sha256:1",), policy="sha256:2", clauses=("name",)),
        model_digest="",
        startup_ms=StartupMs(create=1, start=2, import_=3, ready=4),
        cpu_s=0.5,
        memory_peak_bytes=None,
        io_bytes=IoBytes(read=1, written=2),
        isolation=Isolation(level=3, label="unprivileged", failed="limits-bite", gates=()),
    )
    return Report(
        veilbox="0",
        job="0",
        outputs=(
            Output(
                source="a",
                path="b",
                digest="c",
                bytes=1,
                kind="film",
                frames=1,
                width=1,
                height=1,
                counts={},
                covered={},
                lookahead=12,
                audit_index=5,
                source_fate="kept",
                verification=CHECKED,
            ),
        ),
        failures=(SourceFailure(source="x", error="SourceCorrupt", message="m", exit_code=3),),
        skipped=0,
        counts={"face": 1},
        covered={},
        metrics=Metrics(
            fps=1,
            wall_s=1,
            latency_ms=LatencyMs(p50=1, p95=1, p99=1),
            throughput=Throughput(input_bytes_per_s=1, output_bytes_per_s=1, megapixels_per_s=1),
            containers_started_ms=1,
            ready_ms=1,
            first_clean_frame_ms=1,
            memory_peak_bytes=1,
        ),
        components={"ingest": component},
        runtime="crun",
        kernel="6",
        policy=Policy(),
        audit=AuditReference(
            origin="o", key="k", first=0, index=6, leaf="sha256:0", size=7, checkpoint="o\n7\n", proof=("AA==",)
        ),
    )


def test_the_published_schema_is_current() -> None:
    current = json.loads(json.dumps(report_schema()))
    assert json.loads(PUBLISHED.read_text()) == current, "run `make schema`"


def test_a_report_is_valid(report: Report) -> None:
    document = json.loads(json.dumps(report_json(report)))
    jsonschema.Draft202012Validator.check_schema(report_schema())
    jsonschema.validate(document, report_schema())
    assert document["components"]["ingest"]["startup_ms"] == {"create": 1, "start": 2, "import": 3, "ready": 4}


def test_a_report_without_its_figures_is_not_valid(report: Report) -> None:
    document = json.loads(json.dumps(report_json(report)))
    del document["metrics"]["latency_ms"]["p95"]
    with pytest.raises(jsonschema.ValidationError, match="p95"):
        jsonschema.validate(document, report_schema())
