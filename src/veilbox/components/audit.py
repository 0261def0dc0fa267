"""audit: the only holder of the log and its key. It sees numbers and digests, never pixels.

An entry counts once a checkpoint that covers it is on stable storage; only then is it acknowledged.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from veilbox.audit.checkpoint import verifier_key
from veilbox.audit.entry import AnyEntry, checked_entry
from veilbox.audit.files import DescriptorFile
from veilbox.audit.log import Acknowledged, Log, LogFiles
from veilbox.audit.signing import SigningKey
from veilbox.audit.statement import Told, base64_hashes, envelope
from veilbox.components.session import Session
from veilbox.core.control import Append, Appended, LogOpened, OpenLog, Ready, Seal, Sealed
from veilbox.core.errors import LogError, OutputError, ProtocolError

# `PRIVATE+KEY+name+id+key` of the longest name is below this.
_MAX_KEY_BYTES = 1024
_ORIGIN = "veilbox/audit/"


def run(session: Session) -> None:
    """Append entries until the supervisor finishes."""
    configured, _ = session.configure()
    session.send(Ready(ready_ns=time.monotonic_ns()))
    keeper: _Keeper | None = None
    for message, fds in session.messages():
        match message:
            case OpenLog() if keeper is None:
                keeper = _Keeper(message, fds, names=configured.policy.log_names)
                session.send(keeper.opened())
            case Append() if keeper is not None:
                session.send(keeper.append(message.entries))
            case Seal() if keeper is not None:
                session.send(keeper.seal(fds[0]))
            case _:
                raise ProtocolError("not what audit takes now", actual=type(message).__name__)


class _Keeper:
    """The open log of one job.

    Args:
        message: Which segment it is.
        fds: Entries, tree, checkpoints and key, in this order.
        names: Whether the policy lets the log hold file names.
    """

    def __init__(self, message: OpenLog, fds: Sequence[int], *, names: bool) -> None:
        entries, tree, self._checkpoints, key = fds
        self._names = names
        self._told = Told()
        self._first: int | None = None
        self._last = (0, b"")
        files = LogFiles(
            entries=DescriptorFile(entries),
            tree=DescriptorFile(tree),
            checkpoints=DescriptorFile(self._checkpoints),
            first=message.first,
        )
        with self._turn():
            self._key = _key(key, fresh=not files.checkpoints.size() and not files.tree.size())
            self._log = Log(files, self._key)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Jobs that run at the same time take turns."""
        fcntl.flock(self._checkpoints, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._checkpoints, fcntl.LOCK_UN)

    def opened(self) -> LogOpened:
        """What the log is."""
        key = verifier_key(self._key.name, self._key.public)
        return LogOpened(key=key, size=self._log.size, recovered_bytes=self._log.recovered_bytes)

    def append(self, texts: Sequence[str]) -> Appended:
        """Add entries, all or none."""
        lines = [text.encode() for text in texts]
        entries = [checked_entry(line, names=self._names) for line in lines]
        if not lines:
            raise ProtocolError("no entry")
        with self._turn():
            done = self._log.append(lines)
        self._remember(entries, done)
        return Appended(index=done.first + len(lines) - 1, digest=f"sha256:{done.leaves[-1].hex()}")

    def _remember(self, entries: Sequence[AnyEntry], done: Acknowledged) -> None:
        for entry in entries:
            self._told.take(entry)
        self._first = done.first if self._first is None else self._first
        self._last = done.first + len(entries) - 1, done.leaves[-1]

    def seal(self, attestation: int) -> Sealed:
        """Prove the job's last entry, and attest the job if it released anything.

        Args:
            attestation: Descriptor of an empty file for the envelope; closed here.
        """
        with self._turn():
            self._log.refresh()
            note, size = self._log.note.decode(), self._log.size
            index, leaf = self._last
            proof = base64_hashes(self._log.proof(index))
        where: dict[str, object] = {"origin": self._key.name, "first": self._first, "last": index, "checkpoint": note}
        if self._told.ended and self._told.outputs:
            _write(attestation, envelope(self._told, log=where, signer=self._key))
        os.close(attestation)
        return Sealed(
            origin=self._key.name,
            first=self._first or 0,
            index=index,
            leaf=f"sha256:{leaf.hex()}",
            size=size,
            checkpoint=note,
            proof=tuple(proof),
        )


def _key(fd: int, *, fresh: bool) -> SigningKey:
    """The log's key; made here if the log is new. The descriptor is closed as soon as it is read.

    Raises:
        LogError: The key is missing or damaged.
    """
    try:
        text = os.pread(fd, _MAX_KEY_BYTES, 0)
        if text and (text.endswith(b"\n") or not fresh):
            return SigningKey.read(text.decode("ascii", "replace"))
        if not fresh:
            raise LogError(
                "the log's private key is missing", where="audit", advice="Restore the key file from its backup"
            )
        os.ftruncate(fd, 0)  # what a crash left of a key that signed nothing
        import secrets  # noqa: PLC0415 - for the log's first job only

        key = SigningKey(f"{_ORIGIN}{secrets.token_hex(8)}", secrets.token_bytes(32))
        _write(fd, key.text().encode())
    finally:
        os.close(fd)
    return key


def _write(fd: int, data: bytes) -> None:
    file = DescriptorFile(fd)
    try:
        file.append(data)
        file.sync()
    except OSError as error:
        raise OutputError(
            "cannot write beside the audit log",
            where="audit",
            actual=os.strerror(error.errno or 0),
            advice="Free some space and run again",
        ) from error
