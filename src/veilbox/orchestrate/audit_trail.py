"""What a job tells the audit log, from its acceptance to its end, and the proof that it gets back.

Facts become typed entries (`veilbox.audit.entry`); who ran, behind which walls and under which policy is durable before
any source is opened, and each release before the output has a name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

import veilbox
from veilbox.audit.entry import (
    AnyEntry,
    Decision,
    Deleted,
    DeletionDue,
    Failed,
    Finding,
    ImagesAdmitted,
    InputRead,
    IsolationMeasured,
    JobAccepted,
    JobEnded,
    Notice,
    PolicyApplied,
    Quarantined,
    Released,
    encode_entry,
)
from veilbox.core import findings as verification
from veilbox.core.claim import Claim
from veilbox.core.control import Append, Appended, LogOpened, OpenLog, Seal, Sealed
from veilbox.core.digest import Digest
from veilbox.core.errors import ProtocolError, VeilboxError, printable
from veilbox.core.job import Job
from veilbox.core.plan import Plan
from veilbox.core.policy import Policy, Retention
from veilbox.oci.trust.verify import Admission
from veilbox.orchestrate.audit_log import LogFolder
from veilbox.orchestrate.log_witness import LogWitness, leaf_digest
from veilbox.orchestrate.plan import AUDIT, detectors_of
from veilbox.orchestrate.pod import Pod
from veilbox.orchestrate.report import AuditReference, Checked, Output, SourceFailure
from veilbox.orchestrate.source_digest import SourceDigest

# Entries in one message: a few hundred bytes each, and a control packet holds 256 KiB.
_BATCH = 200
# What a job that failed waits for its last entry; the log answers within milliseconds, or is what failed.
_LAST_WORD_S = 2.0
# Asked before this process enters its namespaces, where everybody is root.
_USER = os.getuid()


class AuditTrail:
    """One job's conversation with the audit component.

    Args:
        pod: Components that are ready.
        folder: The log, locked for this job.
        job_id: The job's name in its entries.
        policy: The job's.
    """

    def __init__(self, pod: Pod, folder: LogFolder, job_id: str, policy: Policy) -> None:
        self._pod = pod
        self._folder = folder
        self._job_id = job_id
        self._policy = policy
        self._key = ""
        self._claim: Claim | None = None
        self._outstanding: deque[tuple[str, ...]] = deque()
        self._witness = LogWitness(folder.segment())
        self._unsaid: list[AnyEntry] = []

    def begin(
        self,
        job: Job,
        plan: Plan,
        admissions: Mapping[str, Admission],
        *,
        runtime: str,
        kernel: str,
        sboms: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Hand the log down and have it know of the job before any source is opened.

        Args:
            job: The request.
            plan: What runs.
            admissions: Why each image was let in.
            runtime: What runs the containers.
            kernel: The host's.
            sboms: Of the images, by component; kept beside the log.

        Raises:
            LogError: The log is not what its key signed.
            OutputError: It cannot be written.
        """
        with self._folder.descriptors() as (first, fds):
            opened = self._pod.ask(AUDIT, OpenLog(first=first), fds)
        if not isinstance(opened, LogOpened):
            raise ProtocolError("does not open the log", where=AUDIT)
        self._folder.publish(opened.key)
        self._key = opened.key
        kept = {name: str(self._folder.keep_sbom(sbom)) for name, sbom in sboms.items()}
        entries = self._first_entries(job, plan, admissions, runtime, kernel, kept)
        appended = self._append(entries)
        self._claim = self._claimed(plan, appended.index - len(entries) + 1, _texts(entries[:1])[0])

    def _append(self, entries: Sequence[AnyEntry]) -> Appended:
        """Have entries written, wait for it, and see that they are.

        Raises:
            ProtocolError: The component does not append.
            LogError: It says so and has not.
        """
        texts = _texts(entries)
        answer = self._pod.ask(AUDIT, Append(entries=texts))
        if not isinstance(answer, Appended):
            raise ProtocolError("does not append", where=AUDIT)
        self._witness.see(texts, answer.digest)
        return answer

    def _claimed(self, plan: Plan, accepted: int, text: str) -> Claim:
        """What manifests say; the log appends all entries of a message side by side, or none.

        Args:
            plan: What runs.
            accepted: Index of the job's first entry.
            text: That entry.
        """
        policy, ready = self._policy, {name: self._pod.members[name].ready for name in detectors_of(plan)}
        return Claim(
            veilbox=veilbox.__version__,
            hidden=policy.detection.classes,
            style=policy.redaction.style,
            policy=str(Digest.of(canonical(policy))),
            models={name: one.model for name, one in ready.items() if one},
            job=self._job_id,
            log=self._key.partition("+")[0],
            entry=accepted,
            leaf=leaf_digest(text),
        )

    @property
    def claim(self) -> Claim:
        """What the job's manifests say.

        Raises:
            ProtocolError: The log does not know of the job yet.
        """
        if self._claim is None:
            raise ProtocolError("a job that no entry accepts", where=AUDIT)
        return self._claim

    def _first_entries(
        self,
        job: Job,
        plan: Plan,
        admissions: Mapping[str, Admission],
        runtime: str,
        kernel: str,
        sboms: dict[str, str],
    ) -> list[AnyEntry]:
        members = self._pod.members
        measured = {name: member.measured for name, member in members.items()}
        policy = self._policy
        digest = self._folder.keep_policy(canonical(policy))
        now = {"job": self._job_id, "time": moment()}
        return [
            JobAccepted(**now, veilbox=veilbox.__version__, items=len(job.items), skipped=job.skipped),
            ImagesAdmitted(
                **now,
                images={container.name: str(container.image) for container in plan.containers},
                models={
                    name: member.ready.model for name, member in members.items() if member.ready and member.ready.model
                },
                signers={name: tuple(map(str, one.keys)) for name, one in admissions.items() if one.keys},
                trust_policy=next((str(one.policy) for one in admissions.values()), None),
                sboms=sboms,
            ),
            PolicyApplied(
                **now,
                digest=str(digest),
                classes=policy.detection.classes,
                threshold=policy.detection.threshold,
                style=policy.redaction.style,
                kept=(*policy.keep, *policy.metadata_fields),
                names=policy.log_names,
                sources=None if policy.retention is Retention.KEEP else policy.retention,
            ),
            IsolationMeasured(
                **now,
                levels={name: int(one.level) for name, one in measured.items()},
                failed={name: one.failed for name, one in measured.items() if one.failed},
                runtime=runtime,
                kernel=kernel,
            ),
            *(Notice(job=self._job_id, time=now["time"], code=code) for code in policy.warnings),
        ]

    def deleted(self, what: str, digest: str, *, item: int | None = None, of: str | None = None) -> None:
        """Have a deletion logged with the next entries: it has happened, and nothing may wait for the log now."""
        self._unsaid.append(Deleted(job=self._job_id, time=moment(), what=what, digest=digest, item=item, of=of))

    def due(self, what: str, digest: str, *, item: int | None = None, of: str | None = None) -> None:
        """Have it logged with the next entries that something will be deleted once they are durable."""
        entry = DeletionDue(job=self._job_id, time=moment(), what=what, digest=digest, item=item, of=of)
        self._unsaid.append(entry)

    def notice(self, code: str, *, item: int | None = None) -> None:
        """Likewise something that must be on record."""
        self._unsaid.append(Notice(job=self._job_id, time=moment(), code=code, item=item))

    def found(self, item: int, checked: Checked) -> None:
        """Likewise what verify found in an output: kinds and counts, no frames and no boxes."""
        now = {"job": self._job_id, "time": moment()}
        for word, findings in _by_word(checked.findings).items():
            scores = [one.score for one in findings if one.score is not None]
            self._unsaid.append(
                Finding(
                    **now,
                    item=item,
                    kind=word,
                    count=sum(one.count for one in findings),
                    score=max(scores, default=None),
                    action=checked.verdict,
                )
            )

    def quarantined(self, item: int, output: Output) -> None:
        """Likewise that an output was held back, and what it was."""
        now = {"job": self._job_id, "time": moment()}
        self._unsaid.append(Quarantined(**now, item=item, digest=output.digest, bytes=output.bytes))

    def decided(
        self,
        decision: str,
        *,
        item: int | None = None,
        digest: str | None = None,
        of: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Likewise what the person decided who runs this process."""
        now = {"job": self._job_id, "time": moment()}
        by = f"uid {_USER}"
        entry = Decision(**now, item=item, decision=decision, by=by, digest=digest, of=of, reason=reason)
        self._unsaid.append(entry)

    def _said(self) -> list[AnyEntry]:
        unsaid, self._unsaid = self._unsaid, []
        return unsaid

    def flush(self) -> None:
        """Wait until everything noted so far is durable.

        Raises:
            ProtocolError: The component does not append.
            LogError: It says so and has not.
        """
        for batch in _batches(self._said()):
            self._append(batch)

    def vouch(self, item: int, output: Output, source: SourceDigest) -> None:
        """Send the entries of an input and its output; `answered` takes note that they are durable.

        Where sources go, the entry says so: nobody deletes one before it is on record that it was about to go.
        """
        digest = source.result()
        now = {"job": self._job_id, "time": moment()}
        entries: list[AnyEntry] = [
            *self._said(),
            InputRead(
                **now,
                item=item,
                digest=digest,
                bytes=source.size,
                name=self._folder.keyed(output.source),
                path=self._named(output.source),
            ),
            Released(
                **now,
                item=item,
                digest=output.digest,
                bytes=output.bytes,
                input=digest,
                frames=output.frames,
                width=output.width,
                height=output.height,
                counts=output.counts,
                covered=output.covered,
                name=self._folder.keyed(output.path),
                path=self._named(output.path),
            ),
        ]
        if self._policy.retention is not Retention.KEEP:
            entries.append(DeletionDue(**now, what="source", digest=digest, item=item))
        texts = _texts(entries)
        self._outstanding.append(texts)
        self._pod.send(AUDIT, Append(entries=texts))

    def _named(self, path: str) -> str | None:
        return printable(path) if self._policy.log_names else None

    def answered(self, message: Appended) -> None:
        """Take note of an `Appended` that answers the first `vouch` without an answer.

        Raises:
            LogError: The log does not hold what it vouches for.
        """
        self._witness.see(self._outstanding.popleft(), message.digest)

    def end(
        self, outputs: Sequence[Output], failures: Sequence[tuple[int, SourceFailure]], report: bytes | None
    ) -> AuditReference | None:
        """Tell the log how the job ended, have the end proved and the job attested.

        Args:
            outputs: What was released.
            failures: Item and error.
            report: The report's canonical JSON without its `audit` field; None where there is no report.

        Returns:
            None if the component was lost: what was released is in the log, but neither its end nor a proof.

        Raises:
            LogError: The log has lost what it had acknowledged.
        """
        now = {"job": self._job_id, "time": moment()}
        entries = self._said()
        entries.extend(Failed(**now, item=item, error=failure.error) for item, failure in failures)
        entries.append(
            JobEnded(
                **now,
                outcome="partial" if failures else "done",
                released=len(outputs),
                failed=len(failures),
                report=None if report is None else str(Digest.of(report)),
            )
        )
        for batch in _batches(entries):
            texts = _texts(batch)
            answer = self._pod.ask(AUDIT, Append(entries=texts), settled=True)
            if not isinstance(answer, Appended):
                return None
            self._witness.see(texts, answer.digest)
        with self._folder.attestation(self._job_id) as fd:
            sealed = self._pod.ask(AUDIT, Seal(), [fd], settled=True)
        self._witness.see_again()
        return self._reference(sealed) if isinstance(sealed, Sealed) else None

    def _reference(self, sealed: Sealed) -> AuditReference:
        return AuditReference(
            origin=sealed.origin,
            key=self._key,
            first=sealed.first,
            index=sealed.index,
            leaf=sealed.leaf,
            size=sealed.size,
            checkpoint=sealed.checkpoint,
            proof=sealed.proof,
        )

    def fail(self, error: BaseException, *, released: int) -> None:
        """Tell the log what ended the job, if it can still be told; this never raises a second error.

        Args:
            error: What ended it.
            released: Outputs that have their names already.
        """
        component = error.where if isinstance(error, VeilboxError) and error.where in self._pod.members else None
        end = JobEnded(
            job=self._job_id,
            time=moment(),
            outcome="failed",
            released=released,
            failed=0,
            error=type(error).__name__ if isinstance(error, VeilboxError) else "internal",
            component=component,
        )
        with contextlib.suppress(VeilboxError, OSError, ValueError):
            control = self._pod.members[AUDIT].launched.control
            batches = [_texts(batch) for batch in _batches([*self._said(), end])]
            for batch in batches:
                control.send(Append(entries=batch))
            self._await_answers(len(self._outstanding) + len(batches))

    def _await_answers(self, count: int) -> None:
        control = self._pod.members[AUDIT].launched.control
        poll = select.poll()
        poll.register(control.fileno(), select.POLLIN)
        end = time.monotonic() + _LAST_WORD_S
        while count and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            while count and (received := control.receive()) is not None:
                count -= isinstance(received[0], Appended)


def _by_word(findings: Sequence[verification.Finding]) -> dict[str, list[verification.Finding]]:
    """Findings by kind and what was found, in the letters that an entry's words may have."""
    words: dict[str, list[verification.Finding]] = {}
    for one in findings:
        word = re.sub(r"[^A-Za-z0-9 ._+-]", "", f"{one.kind} {one.what}")[:64].strip()
        words.setdefault(word, []).append(one)
    return words


def moment() -> str:
    """Now, as entries say it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def canonical(value: object) -> bytes:
    """The JSON of a value that its digest is taken of: sorted keys, no spaces."""
    return json.dumps(msgspec.to_builtins(value), sort_keys=True, separators=(",", ":")).encode()


def _texts(entries: Sequence[AnyEntry]) -> tuple[str, ...]:
    return tuple(encode_entry(entry).decode() for entry in entries)


def _batches(entries: Sequence[AnyEntry]) -> Iterator[Sequence[AnyEntry]]:
    for start in range(0, len(entries), _BATCH):
        yield entries[start : start + _BATCH]
