"""Sealed processes for tests: with what the kernel grants, and as if it granted no namespaces."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig import Rig

import veilbox
from veilbox.oci.admit import admit
from veilbox.oci.image.store import ImageStore
from veilbox.oci.runtime.driver import discover
from veilbox.oci.runtime.ids import Allotment
from veilbox.oci.runtime.jobs import RunDirectory
from veilbox.oci.runtime.processes import ProcessRuntime

_MAIN = "import sys\nfrom veilbox.orchestrate import sealed_process\n{}\nsys.exit(sealed_process.main(sys.argv[1:]))"
# By name, what is done to the program that makes the processes.
HELPERS = {"process": "", "process-plain": "sealed_process._enter_namespaces = lambda _: False"}
_PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
PROGRAMS = {
    "echo": (*_PYTHON, "import socket; s = socket.socket(fileno=0); s.send(b'got ' + s.recv(4096) + b'\\n')"),
    "exit-7": (*_PYTHON, "raise SystemExit(7)"),
    "say": (*_PYTHON, "import sys; print('out', flush=True); print('err', file=sys.stderr)"),
    "wait": (*_PYTHON, "import os; os.read(0, 1)"),
    "missing": ("/no/such/program",),
}


def sealing_runtime(kind: str, root: Path, timeout_s: float = 10.0) -> ProcessRuntime:
    """Sealed processes of one of `HELPERS`."""
    program = (sys.executable, "-s", "-P", "-c", _MAIN.format(HELPERS[kind]))
    variables = {"PYTHONPATH": str(Path(veilbox.__file__).parents[1])}
    return ProcessRuntime(program, version="test", root=root, variables=variables, timeout_s=timeout_s)


@contextmanager
def sealing_rig(kind: str, run: RunDirectory) -> Iterator[Rig]:
    """A rig whose programs are those of ingest's image; nothing may be left of it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for overlays")
    fact = discover(["process"])[0]
    if not fact.usable:
        pytest.skip(fact.why)
    image = admit(ImageStore.default(), "ingest")
    with Allotment(run.ids) as allotment, run.open_job() as job:
        runtime = sealing_runtime(kind, job.runtime_root)
        yield Rig(runtime, job, allotment, PROGRAMS, image)
        assert not any(job.runtime_root.glob("*"))
    assert not job.path.exists()
