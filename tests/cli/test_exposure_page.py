"""One page that shows how those who were found were covered, and needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from page_workshop import HOSTILE, read, require_nothing_else

from veilbox.cli.main import main
from veilbox.core.detections import Detections
from veilbox.core.policy import Policy, Tracking
from veilbox.orchestrate.exposure_page import exposure_page
from veilbox.vision.track import Tracker


def exposure(frames: int = 30, *, film: bool = True) -> Any:
    tracker = Tracker(Tracking(), width=640, height=360, film=film)
    for number in range(frames):
        seen = np.array([[100, 100, 140, 140]] if number % 5 else np.zeros((0, 4)), np.float32).reshape(-1, 4)
        count = len(seen)
        tracker.push(number, Detections(seen, np.full(count, 0.7, np.float32), np.zeros(count, np.int32)))
    list(tracker.flush())
    return msgspec.to_builtins(tracker.exposure(lambda _: "face"))


def report(*paths: str, told: Any = None) -> dict[str, Any]:
    """As much of a report as the page reads."""
    told = exposure() if told is None else told
    return {
        "veilbox": "1",
        "job": "5f0b83b0",
        "policy": msgspec.to_builtins(Policy()),
        "counts": {"face": len(paths)},
        "metrics": {"latency_ms": {"p50": 10.0, "p95": 20.0, "p99": 30.0, "histogram": [[8.0, 3], [16.0, 27]]}},
        "outputs": [{"path": path, "source": "in.mp4", "frames": 30, "exposure": told} for path in paths],
    }


def test_the_page_tells_tracks_and_what_covered_them() -> None:
    words = " ".join(read(exposure_page(report("a.mp4", "b.mp4"))).words)
    for part in (
        "Weakest tracks",
        "face 0",
        "gaps closed",
        "Latency",
        "Scores",
        "Tracks, the longest covered",
        "b.mp4",
    ):
        assert part in words
    table = exposure_page(report("a.mp4"))
    assert "<td>frames with detection</td><td>24</td>" in table
    assert "<td>frames with interpolation</td><td>5</td>" in table
    assert "<td>gaps closed</td><td>5</td>" in table


def test_the_page_needs_nothing_else() -> None:
    require_nothing_else(exposure_page(report("a.mp4")))


def test_low_latency_is_told() -> None:
    told = report("a.mp4")
    assert "look-ahead 12 frames" in exposure_page(told)
    told["policy"]["tracking"]["low_latency"] = True
    assert "look-ahead none, for low latency" in exposure_page(told)


def test_what_was_seen_weakly_is_told() -> None:
    told = exposure()
    told["uncovered"] = 1
    told["doubtful"] = [{"label": "plate", "first": 3, "last": 9, "seen": 5, "best": 0.14}]
    page = exposure_page(report("a.mp4", told=told))
    assert "<td>tracks too weak to be covered</td><td>1</td>" in page
    assert "<td>plate</td><td>3 to 9</td><td>5</td><td>0.14</td><td>a.mp4</td>" in page


def test_a_file_s_name_stays_a_name() -> None:
    told = exposure()
    told["weakest"][0]["label"] = HOSTILE
    told["drawn"][0]["label"] = HOSTILE
    page = exposure_page(report(HOSTILE, told=told))
    assert "script" not in read(page).tags
    assert "\x1b" not in page
    page.encode()


def test_pictures_have_no_timeline() -> None:
    page = exposure_page(report("a.jpg", told=exposure(2, film=False)))
    assert "over time" not in page
    assert "face 0" in page


def test_a_thousand_outputs_make_a_page_that_can_be_read() -> None:
    page = exposure_page(report(*(f"{number}.mp4" for number in range(1000))))
    assert "950 more outputs" in page
    assert len(page) < 2_000_000


def test_who_was_exposed_on_labelled_data_is_told() -> None:
    seen = {"identities": 60, "exposed": 1, "low": 0.0004, "high": 0.0894, "frames": 2}
    told = [{"options": "policy", "classes": {"face": {"exposure": seen}, "plate": {"exposure": None}}}]
    page = exposure_page(report("a.mp4"), told)
    assert "<td>1 of 60</td><td>0.0% to 8.9%</td><td>2</td>" in page


def test_the_command(tmp_path: Path) -> None:
    path, page = tmp_path / "report.json", tmp_path / "page.html"
    path.write_text(json.dumps(report("a.mp4")))
    assert main(["exposure", str(path), "-o", str(page)]) == 0
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert main(["exposure", str(path), "-o", str(tmp_path / "none" / "page.html")]) == 4


@pytest.mark.parametrize("text", ["{}", "[]", '{"outputs": 1}', "x"])
def test_what_is_no_report_is_a_wrong_request(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    assert main(["exposure", str(path), "-o", str(tmp_path / "page.html")]) == 2
    assert not (tmp_path / "page.html").exists()
