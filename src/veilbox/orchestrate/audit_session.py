"""Tell the audit log of something that no job does: a purge, a person's decision.

The audit component runs alone in its container, for nobody else has the log's key. Such a session is a job of its own
in the log, without sources; what it does to another job's material names that job in the field `of`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from veilbox.core.job import Job
from veilbox.core.plan import Plan
from veilbox.core.policy import Policy
from veilbox.oci.image.store import ImageStore
from veilbox.oci.trust.verify import Admission
from veilbox.orchestrate.audit_log import open_log
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.launcher import Launcher
from veilbox.orchestrate.machine import engine
from veilbox.orchestrate.plan import AUDIT, audit_plan
from veilbox.orchestrate.pod import Pod
from veilbox.seal.canary import planted


@contextmanager
def audit_session(store: ImageStore) -> Iterator[AuditTrail]:
    """The log's ear, for the time of a block; what was noted is durable when the block has ended.

    Args:
        store: The audit component's image, and the log.

    Raises:
        VeilboxError: The component does not run, or the log cannot be written.
    """
    with engine(store, (AUDIT,)) as machine:
        plan = audit_plan(machine.programs, cpus=machine.cpus)
        session = session_on(
            plan, machine.launcher, log_root=store.root, job_id=machine.job_id, admissions=machine.admissions
        )
        with session as trail:
            yield trail


@contextmanager
def session_on(
    plan: Plan,
    launcher: Launcher,
    *,
    log_root: Path,
    job_id: str,
    admissions: Mapping[str, Admission] = MappingProxyType({}),
) -> Iterator[AuditTrail]:
    """Likewise with any launcher."""
    policy = Policy()
    with open_log(log_root) as log, planted() as canaries, Pod(plan, launcher, policy, canaries) as pod:
        pod.await_ready()
        trail = AuditTrail(pod, log, job_id, policy)
        trail.begin(Job(items=(), policy=policy), plan, admissions, runtime=launcher.runtime, kernel=os.uname().release)
        try:
            yield trail
            trail.flush()
        except BaseException as error:
            trail.fail(error, released=0)
            raise
        trail.end((), (), None)
        pod.finish()
