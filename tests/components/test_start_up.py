"""What a component has loaded when it says that it is ready: libraries that it may never need cost every start."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("component", "absent"),
    [
        pytest.param("ingest", {"PIL", "onnxruntime"}, id="ingest: Pillow comes with the first picture"),
        pytest.param("export", {"PIL", "onnxruntime"}, id="export: likewise"),
        pytest.param("anonymize", {"PIL", "av", "onnxruntime"}, id="anonymize: no codec at all"),
        pytest.param("verify", {"PIL", "av", "numpy", "onnxruntime"}, id="verify: nothing before the first frame"),
        pytest.param("second", {"PIL", "av", "numpy", "onnxruntime"}, id="second: nothing before its first picture"),
        pytest.param("audit", {"PIL", "av", "numpy", "onnxruntime"}, id="audit: nothing of these"),
    ],
)
def test_a_component_starts_without(component: str, absent: set[str]) -> None:
    program = f"import sys, veilbox.components.entry as e; e.load({component!r}); print(*sys.modules, sep=chr(10))"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert "veilbox.core.control" in loaded
    assert not loaded & absent
