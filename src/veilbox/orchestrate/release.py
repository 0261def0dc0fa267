"""From frames that every component passed on to a file under its final name.

The order is the promise: closed by export, looked at by verify, on stable storage, vouched for in the durable audit
log, and only then named.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from veilbox.core.control import (
    Appended,
    Claimed,
    ItemDone,
    ItemFailed,
    ItemStarted,
    OpenItem,
    OpenOutput,
    ToSign,
    Verified,
)
from veilbox.core.errors import Failure, InputError, OutputError, ProtocolError, UsageError, VeilboxError
from veilbox.core.findings import FindingKind
from veilbox.core.job import Item, Job
from veilbox.core.plan import Plan
from veilbox.core.policy import Verdict
from veilbox.core.stream import Kind
from veilbox.metrics.histogram import Histogram
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.claims import Claims
from veilbox.orchestrate.plan import AUDIT, CLAIM, VERIFY, detectors_of, second_detectors_of
from veilbox.orchestrate.pod import Pod
from veilbox.orchestrate.progress import Progress
from veilbox.orchestrate.quarantine import Quarantine
from veilbox.orchestrate.report import Checked, Output, SourceFailure
from veilbox.orchestrate.retention import Fate, HeldSource, SourceRetention
from veilbox.orchestrate.source import open_source_file
from veilbox.orchestrate.source_digest import SourceDigest
from veilbox.orchestrate.staging import StagedOutput
from veilbox.orchestrate.verdict import judged, withheld

# Items that ingest may be ahead by: it decodes the next picture while export encodes this one and verify looks at the
# one before.
_WINDOW = 4
# Who must have passed every frame of an item before it may be released.
_WITNESSES = ("ingest", "anonymize", "export")
# Who puts manifests into outputs, who looks at them, and who keeps the log: they work on when every frame has passed.
_LAST = (CLAIM, VERIFY, AUDIT)
# Who may say that a source or an output is at fault. Everybody else's failure is the job's.
_MAY_FAIL = ("ingest", "export", CLAIM)
# `core.regions.Origin` in lower case; that file needs numpy, which starting a job does not.
_ORIGINS = frozenset({"detected", "interpolated", "extended"})
# `core.detections.Seen`, likewise.
_SEEN = frozenset({"whole", "parts", "not"})
# Until verify has looked.
_UNSEEN = Checked(verdict=Verdict.FAIL, frames=0, regions=0, searched=0, side=0, findings=(), omitted=0)
# What ends one item of a folder. A signal or a component's failure, also errors of the tree, ends the job.
_ITEM_FAULTS = (UsageError, InputError, OutputError)


@dataclass(slots=True)
class _Open:
    """An item between its opening and its release."""

    item: Item
    staged: StagedOutput
    source: SourceDigest
    held: HeldSource | None = None
    started: ItemStarted | None = None
    done: dict[str, ItemDone] = field(default_factory=dict)
    output: Output | None = None
    vouched: bool = False
    latency_us: Histogram = field(default_factory=Histogram)

    @property
    def passed(self) -> bool:
        """Whether every frame has passed all who handle it."""
        return all(witness in self.done for witness in _WITNESSES)

    def discard(self) -> None:
        """Leave nothing of the output, and read no further in the source."""
        self.staged.discard()
        self.source.stop()
        self.let_go()

    def let_go(self) -> None:
        """Hold the source no longer; safe to call twice."""
        if self.held is not None:
            self.held.close()
            self.held = None


class AnonymizeRun:
    """Feeds a job's items to a pod and releases what comes out.

    Args:
        job: What to do.
        pod: Components that are ready.
        trail: The audit log's ear.
        progress: Told of every step.
        plan: What the pod runs.
        retention: What becomes of sources.
        quarantine: Where outputs go that are kept and not released.
        claims: Gives outputs their manifests; None where they have none.
    """

    def __init__(
        self,
        job: Job,
        pod: Pod,
        trail: AuditTrail,
        progress: Progress,
        plan: Plan,
        retention: SourceRetention,
        quarantine: Quarantine,
        claims: Claims | None = None,
    ) -> None:
        self._claims = claims
        self._retention = retention
        self._quarantine = quarantine
        self._job = job
        self._pod = pod
        self._trail = trail
        self._progress = progress
        detectors, second = detectors_of(plan), second_detectors_of(plan)
        self._stride = pod.common_stride(detectors)
        self._second = bool(second)
        self._second_stride = pod.common_stride(second)
        self._classes = frozenset(
            kind for name in detectors if (ready := pod.members[name].ready) for kind in ready.classes
        )
        self._makers = tuple(name for name in pod.members if name not in (*_LAST, *second))
        self._waiting = list(enumerate(job.items))
        self._open: dict[int, _Open] = {}
        self._vouched: list[int] = []
        self.outputs: list[Output] = []
        self.failures: list[SourceFailure] = []
        self.failed_items: list[int] = []
        self.latency_us = Histogram()
        self.first_frame_ns = 0
        self.input_bytes = 0

    def run(self) -> None:
        """Work until every item is released or failed.

        Raises:
            VeilboxError: A component failed, or the only source of a job that is no folder did.
        """
        try:
            while self._waiting or self._open:
                while self._waiting and len(self._open) < _WINDOW:
                    self._open_next()
                if self._open:
                    self._look()
                    self._ease()
                    self._dismiss_makers()
                self._progress.advance(*self._pod.members["export"].progress)
        finally:
            for number in list(self._open):
                self._drop(number)

    def _look(self) -> None:
        for name, message in self._pod.poll():
            self._handle(name, message)
            if not (self._waiting or self._open):
                return  # nothing that a component does now can take back what was released

    def _ease(self) -> None:
        """Keep a long output from filling the pod's memory while it is made and looked at."""
        now_s = time.monotonic()
        for opened in self._open.values():
            opened.staged.ease(now_s)

    def _dismiss_makers(self) -> None:
        """Once the last frame of the last item has passed, free what its makers hold: verify's detectors need it."""
        if self._waiting or not all(opened.passed for opened in self._open.values()):
            return
        makers, self._makers = self._makers, ()
        self._pod.dismiss(makers)

    def _open_next(self) -> None:
        number, item = self._waiting.pop(0)
        try:
            self._send(number, item)
        except _ITEM_FAULTS as error:
            self._fail(number, item, error)

    def _send(self, number: int, item: Item) -> None:
        if item.output is None:
            raise ProtocolError("an item without an output", where=item.name)
        with open_source_file(item.source, item.name) as source:
            staged = StagedOutput.create(item.output, replace=self._job.replace)
            self._open[number] = _Open(item, staged, SourceDigest(source.fd, item.name))
            self._open[number].held = self._retention.hold(item.source, source.fd)
            self.input_bytes += source.size
            if self._job.policy.zones:
                self._pod.send("anonymize", OpenItem(item=number, zones=self._job.policy.zones_of(item.name)))
            self._pod.send("export", OpenItem(item=number, suffix=item.suffix), [staged.fd])
            opening = OpenItem(item=number, suffix=item.suffix, analysis_stride=self._stride)
            self._pod.send("ingest", opening, [source.fd])

    def _handle(self, name: str, message: object) -> None:
        match message:
            case ItemStarted() if name == "ingest":
                self._started(message)
            case ItemDone():
                self._done(name, message)
            case ItemFailed() if name in _MAY_FAIL:
                self._failed(name, message.item, message.failure)
            case ToSign() if name == CLAIM and self._claims:
                self._claims.sign(message)
            case Claimed() if name == CLAIM and self._claims:
                self._claimed(message.item, self._claims)
            case Verified() if name == "verify":
                self._verified(message)
            case Appended() if name == "audit":
                self._appended(message)
            case _:
                raise ProtocolError("unexpected message", where=name, actual=type(message).__name__)

    def _started(self, message: ItemStarted) -> None:
        opened = self._open.get(message.item)
        if opened is None:
            raise ProtocolError("an item that was not opened", where="ingest", actual=str(message.item))
        if opened.started is not None:
            raise ProtocolError("an item started twice", where="ingest", actual=str(message.item))
        opened.started = message
        self._progress.item(message.item, len(self._job.items), opened.item.name, message.frames)

    def _done(self, name: str, message: ItemDone) -> None:
        opened = self._open.get(message.item)
        if opened is None:
            return  # it failed elsewhere meanwhile
        if name in opened.done:
            raise ProtocolError("an item done twice", where=name, actual=str(message.item))
        opened.done[name] = message
        if name == "export":
            opened.latency_us = Histogram.unpacked(message.latency_us)
        # A detector may tell that it is done after the witnesses did; that must not vouch a second time.
        if name in _WITNESSES and opened.passed:
            self._check(message.item, opened)

    def _failed(self, name: str, number: int, failure: Failure) -> None:
        opened = self._open.get(number)
        if opened is None:
            return  # it failed elsewhere meanwhile
        if name in opened.done:
            raise ProtocolError("an item failed after it was done", where=name, actual=str(number))
        if name == "export":
            self._makers = ()  # frames of it are still on their way: nobody may leave before the end
        self._drop(number)
        where = opened.item.name if name == "ingest" else str(opened.item.output)
        self._fail(number, opened.item, failure.error(where))

    def _drop(self, number: int) -> None:
        if self._claims:
            self._claims.drop(number)
        if number in self._open:
            self._open.pop(number).discard()

    def _fail(self, number: int, item: Item, error: VeilboxError) -> None:
        if not self._job.folder:
            raise error
        self._note(number, SourceFailure.of(item.name, error))

    def _note(self, number: int, failure: SourceFailure) -> None:
        self._progress.done(number)
        self.failures.append(failure)
        self.failed_items.append(number)

    def _check(self, number: int, opened: _Open) -> None:
        """Freeze the output and, where it gets a manifest, have that put into it before anybody looks."""
        try:
            _agreed(opened)
            opened.staged.freeze()
            if self._claims:
                self._claims.ask(number, opened.item, opened.staged)
            else:
                self._show(number, opened)
        except (InputError, OutputError) as error:
            self._drop(number)
            self._fail(number, opened.item, error)

    def _claimed(self, number: int, claims: Claims) -> None:
        """The copy with the manifest is the output from here on; what export wrote is nobody's any more."""
        try:
            copy = claims.done(number)
            opened = self._open[number]
            opened.staged.discard()
            opened.staged = copy
            self._show(number, opened)
        except (InputError, OutputError) as error:
            item = self._open[number].item
            self._drop(number)
            self._fail(number, item, error)

    def _show(self, number: int, opened: _Open) -> None:
        """Have verify look at the output, and hash it meanwhile."""
        started, frames = _agreed(opened)
        zones = self._job.policy.zones_of(opened.item.name)
        message = _opening(number, opened, started, frames, self._second_stride, zones)
        self._pod.send(VERIFY, message, [opened.staged.fd])
        opened.output = _output(opened, started, frames, self._classes)

    def _verified(self, message: Verified) -> None:
        opened = self._open.get(message.item)
        if opened is None:
            return  # it failed elsewhere meanwhile
        if opened.output is None or opened.vouched:
            raise ProtocolError("an output that it was not asked about", where="verify", actual=str(message.item))
        self._check_looked_at(message, opened.output)
        checked = judged(message, self._job.policy.verification)
        self._trail.found(message.item, checked)
        if checked.verdict is Verdict.RELEASE:
            self._vouch(message.item, opened, replace(opened.output, verification=checked))
        else:
            self._withhold(message.item, opened, checked)

    def _check_looked_at(self, message: Verified, output: Output) -> None:
        """Who finds no fault with an output's content has looked at all of it.

        Raises:
            ProtocolError: It has not.
        """
        if any(finding.kind is FindingKind.CONTENT for finding in message.findings):
            return  # it may have ended early
        due = output.frames if output.kind is Kind.IMAGE else -(-output.frames // self._job.policy.verification.stride)
        expected = output.frames, sum(output.covered.values()), due if self._second else 0
        looked_at = message.frames, message.regions, message.searched
        if looked_at != expected:
            raise ProtocolError(
                "an output that was not looked at as a whole",
                where="verify",
                expected="{} frames, {} regions, {} searched again".format(*expected),
                actual="{}, {} and {}".format(*looked_at),
            )

    def _withhold(self, number: int, opened: _Open, checked: Checked) -> None:
        """Keep the output in quarantine or throw it away; also a job of one file then ends with a report."""
        kept: Path | None = None
        try:
            if checked.verdict is Verdict.QUARANTINE and opened.output is not None:
                kept = self._quarantine.keep(number, opened.staged)
                self._trail.quarantined(number, opened.output)
        except OutputError as error:
            self._drop(number)
            self._fail(number, opened.item, error)
            return
        self._drop(number)
        failure = SourceFailure.of(opened.item.name, withheld(checked, str(opened.item.output), kept))
        self._note(number, replace(failure, verification=checked, quarantine=str(kept or "")))

    def _vouch(self, number: int, opened: _Open, output: Output) -> None:
        """Have the audit log vouch for the output."""
        try:
            self._trail.vouch(number, output, opened.source)
        except (InputError, OutputError) as error:
            self._drop(number)
            self._fail(number, opened.item, error)
            return
        opened.output, opened.vouched = output, True
        self._vouched.append(number)

    def _appended(self, message: Appended) -> None:
        if not self._vouched:
            raise ProtocolError("an entry that was not asked for", where="audit")
        self._trail.answered(message)
        number = self._vouched.pop(0)
        opened = self._open.pop(number)
        if opened.output is None:
            raise ProtocolError("an entry for an output that is not complete", where="audit")
        try:
            opened.staged.release()
        except _ITEM_FAULTS as error:
            opened.let_go()
            self._fail(number, opened.item, error)
            return
        export = opened.done["export"]
        self.latency_us.merge(opened.latency_us)
        self.first_frame_ns = self.first_frame_ns or export.first_frame_ns
        fate = self._retention.settle(opened.held, number, opened.source.result())
        opened.let_go()
        self.outputs.append(replace(opened.output, audit_index=message.index, source_fate=fate))
        self._progress.done(number)


def _agreed(opened: _Open) -> tuple[ItemStarted, int]:
    """What ingest announced, and the number of frames, once all witnesses agree on it."""
    frames = {name: done.frames for name, done in opened.done.items() if name in _WITNESSES}
    if len(set(frames.values())) != 1 or opened.started is None:
        raise ProtocolError(
            "components disagree about the number of frames", where=opened.item.name, actual=str(frames)
        )
    return opened.started, frames["export"]


def _opening(
    number: int, opened: _Open, started: ItemStarted, frames: int, stride: int, zones: tuple[int, ...]
) -> OpenOutput:
    return OpenOutput(
        item=number,
        suffix=opened.item.suffix,
        kind=started.kind,
        width=started.width,
        height=started.height,
        rotation=started.rotation,
        frames=frames,
        times=opened.done["ingest"].times,
        metadata=started.metadata,
        analysis_stride=stride,
        zones=zones,
    )


def _output(opened: _Open, started: ItemStarted, frames: int, classes: frozenset[str]) -> Output:
    """The facts of a frozen output."""
    digest, size = opened.staged.digest()
    opened.staged.sync()
    redacted = opened.done["anonymize"]
    # These words come from where pixels are seen, and go into the report and the log: only known ones pass.
    named = redacted.counts.keys() | (redacted.exposure.labels if redacted.exposure else set())
    if not (named <= classes and redacted.covered.keys() <= _ORIGINS and redacted.seen.keys() <= _SEEN):
        raise ProtocolError("statistics with unknown words", where="anonymize")
    return Output(
        source=opened.item.name,
        path=str(opened.item.output),
        digest=str(digest),
        bytes=size,
        kind=started.kind,
        frames=frames,
        width=started.width,
        height=started.height,
        counts=redacted.counts,
        covered=redacted.covered,
        seen=redacted.seen,
        lookahead=redacted.lookahead,
        exposure=redacted.exposure,
        kept=redacted.kept,
        blocks=redacted.blocks,
        recoded=redacted.recoded,
        audit_index=0,  # known once the entry is durable
        source_fate=Fate.KEPT,  # likewise
        verification=_UNSEEN,
    )
