"""The same components in one process without containers: what the isolation costs is the difference.

Run as a program of its own, so that its memory and imports are its own: `one_process.py FILM OUTPUT MODELS REPORT`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.job import Item, Job
from veilbox.core.policy import Policy
from veilbox.orchestrate.anonymize import run_plan
from veilbox.orchestrate.plan import VERIFY, Program, anonymize_plan, detectors, second_detectors
from veilbox.orchestrate.progress import Silent
from veilbox.orchestrate.report import report_json
from veilbox.orchestrate.threads import ThreadLauncher


def main(film: Path, output: Path, models: Path, told: Path) -> None:
    """Anonymise a film in threads."""
    began = time.monotonic()
    policy = Policy()
    names = ("ingest", *detectors(policy), "anonymize", "export", VERIFY, *second_detectors(policy), "audit")
    program = Program(image=Digest.of(b"no image"), args=(), env=())
    plan = anonymize_plan(policy, dict.fromkeys(names, program), cpus=len(os.sched_getaffinity(0)))
    job = Job(items=(Item(source=film, output=output, name=str(film)),), policy=policy, replace=True)
    launcher = ThreadLauncher(dict.fromkeys((*detectors(policy), *second_detectors(policy)), models))
    with tempfile.TemporaryDirectory() as log:
        try:
            report = run_plan(job, plan, launcher, log_root=Path(log), progress=Silent(), job_id="threads", began=began)
        finally:
            launcher.stop()
    told.write_text(json.dumps(report_json(report)))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]))
