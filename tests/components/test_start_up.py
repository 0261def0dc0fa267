"""What a component has loaded when it takes its settings: what it may never need costs every start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Of the standard library, what is dear and what a component can do without until it has an item: URLs and addresses
# come with pathlib, OpenSSL with hashlib.
DEAR = {"pathlib", "urllib.parse", "ipaddress", "json", "hashlib", "fractions", "logging", "secrets", "random"}
LIBRARIES = {"PIL", "av", "msgspec", "nacl", "numpy", "onnxruntime"}
PATHS = {"pathlib", "urllib.parse", "ipaddress"}
# As every component image starts it, and what `python -m veilbox.components` imports until the component's own module.
PROGRAM = """
import sys
texts = []
sys.addaudithook(lambda event, given: event == "compile" and given[1] == "<string>" and texts.append(given[0]))
from veilbox.seal import lifeline, own_walls
from veilbox.components import entry
entry.load({component!r})
print(len(texts), *sys.modules, sep="\\n")
"""


def loaded(component: str) -> tuple[set[str], int]:
    """Modules, and how many texts were compiled while they were imported."""
    command = [sys.executable, "-s", "-S", "-P", "-c", PROGRAM.format(component=component)]
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"PYTHONPATH": os.pathsep.join(sys.path[1:])}
    )
    texts, *modules = run.stdout.split()
    return set(modules), int(texts)


@pytest.mark.parametrize(
    ("component", "libraries", "dear", "texts"),
    [
        # PyAV logs, and its times are fractions; Pillow comes with the first picture.
        pytest.param(
            "ingest", {"av", "msgspec", "numpy"}, {*PATHS, "hashlib", "fractions", "logging"}, 95, id="ingest"
        ),
        pytest.param("export", {"av", "msgspec", "numpy"}, {*PATHS, "fractions", "logging"}, 95, id="export"),
        # A detector reads its model from a folder, by its digest; the model's library comes with it.
        pytest.param("detect", {"msgspec", "numpy"}, {*PATHS, "hashlib"}, 90, id="detect"),
        pytest.param("anonymize", {"msgspec", "numpy"}, {"hashlib"}, 70, id="anonymize"),
        # Both wait for the first output.
        pytest.param("verify", {"msgspec"}, set(), 55, id="verify"),
        pytest.param("second", {"msgspec"}, {*PATHS, "hashlib"}, 65, id="second"),
        # msgspec compiles the annotation of each field of the log's entries.
        pytest.param("audit", {"msgspec", "nacl"}, {"hashlib", "json"}, 155, id="audit"),
    ],
)
def test_what_a_component_has_loaded_when_it_is_told_its_work(
    component: str, libraries: set[str], dear: set[str], texts: int
) -> None:
    modules, compiled = loaded(component)
    assert "veilbox.core.control" in modules
    assert modules & LIBRARIES == libraries
    assert modules & DEAR == dear
    assert compiled <= texts  # each takes a tenth of a millisecond; `core.frozen` tells why there are so few
