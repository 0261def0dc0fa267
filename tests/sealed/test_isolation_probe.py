"""`veilbox isolation probe`: every component tries its walls without footage, under each runtime."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from sealed_workshop import RunVeilbox

from veilbox.core.isolation import FROM_INSIDE, Level

pytestmark = pytest.mark.sealed

COMPONENTS = {"ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit"}


@pytest.mark.parametrize("runtime", ["crun", "runc", "runsc"])
def test_every_wall_stands_under_every_runtime(veilbox: RunVeilbox, runtime: str, nothing_left: None) -> None:
    del nothing_left
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    run = veilbox("isolation", "probe", "--json", "--runtime", runtime)
    assert run.status == 0, run.stderr
    found: Any = run.json
    assert found["runtime"].startswith(runtime)
    assert set(found["components"]) == COMPONENTS
    for name, component in found["components"].items():
        level, failed = (Level.OWN_KERNEL, "attested") if runtime == "runsc" else (Level.CONFINED, "own-kernel")
        assert (component["level"], component["failed"]) == (level, failed), (name, component)
        tried = {one["id"] for one in found["findings"] if one["component"] == name}
        assert tried >= FROM_INSIDE
    broken = set() if runtime == "runsc" else {"own-kernel"}
    assert {one["id"] for one in found["findings"] if not one["held"]} == broken
    assert {one["severity"] for one in found["findings"]} == {"high", "medium", "low", "info"}


def test_people_are_told_levels_and_what_fell(veilbox: RunVeilbox) -> None:
    run = veilbox("isolation", "probe")
    assert run.status == 0, run.stderr
    for name in COMPONENTS:
        assert name in run.stdout
    assert "walls did not stand" in run.stdout
