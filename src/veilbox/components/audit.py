"""audit: the only writer of the log. It sees numbers and digests, never pixels or file names.

Each line is one entry with the digest of the line before it, so that an entry cannot be changed, removed or put
elsewhere without breaking every later one. An entry counts once it is on stable storage.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time

from veilbox.components.session import Session
from veilbox.core.control import Append, Appended, Ready
from veilbox.core.errors import OutputError, ProtocolError

# The longest entry: a job's report in numbers is a few kilobytes.
_MAX_LINE = 1 << 20
# What stands for the line before the first.
GENESIS = "sha256:" + "0" * 64


def run(session: Session) -> None:
    """Append entries until the supervisor finishes."""
    session.configure()
    session.send(Ready(ready_ns=time.monotonic_ns()))
    log: int | None = None
    for message, fds in session.messages():
        if not isinstance(message, Append):
            raise ProtocolError("audit takes entries only", actual=type(message).__name__)
        if fds:
            log = fds[0]
        if log is None:
            raise ProtocolError("the first entry must bring the log")
        index, digest = append(log, message.entry)
        session.send(Appended(index=index, digest=digest))


def append(log: int, entry: str) -> tuple[int, str]:
    """Add one entry durably.

    Args:
        log: Descriptor open for reading and appending; jobs that run at the same time take turns by its lock.
        entry: A JSON object.

    Returns:
        The entry's index from 0, and the digest of its line.

    Raises:
        OutputError: The log's end is not a whole line, or it cannot be written.
    """
    fcntl.flock(log, fcntl.LOCK_EX)
    try:
        index, previous = _last(log)
        record = {"entry": json.loads(entry), "index": index, "previous": previous}
        line = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
        _write(log, line)
        return index, _digest(line)
    finally:
        fcntl.flock(log, fcntl.LOCK_UN)


def _last(log: int) -> tuple[int, str]:
    """The next index, and the digest of the last line."""
    size = os.fstat(log).st_size
    if size == 0:
        return 0, GENESIS
    start = max(0, size - _MAX_LINE)
    tail = os.pread(log, size - start, start)
    if not tail.endswith(b"\n"):
        raise OutputError(
            "the audit log ends in the middle of an entry",
            where="audit",
            advice="Keep the file as evidence and move it away; the next job starts a new one",
        )
    line = tail[tail.rfind(b"\n", 0, -1) + 1 :]
    return int(json.loads(line)["index"]) + 1, _digest(line)


def _write(log: int, line: bytes) -> None:
    """Write a whole line and bring it to stable storage, or leave the log as it was."""
    size = os.fstat(log).st_size
    try:
        written = os.write(log, line)
        if written == len(line):
            os.fsync(log)
            return
        reason = os.strerror(errno.ENOSPC)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
    os.ftruncate(log, size)
    raise OutputError(
        "cannot write the audit log", where="audit", actual=reason, advice="Free some space and run again"
    )


def _digest(line: bytes) -> str:
    return f"sha256:{hashlib.sha256(line).hexdigest()}"
