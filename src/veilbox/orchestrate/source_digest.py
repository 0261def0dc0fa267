"""The digest of a source, taken while the pod works on it."""

from __future__ import annotations

import hashlib
import os
import threading

from veilbox.core.errors import SourceCorrupt

# hashlib lets other threads run while it works on more than 2 KiB; a mebibyte is a millisecond.
_CHUNK = 1 << 20


class SourceDigest:
    """Reads a source once in a thread of its own and parses nothing.

    Args:
        fd: Open for reading; it is duplicated, and read by position, so that its reader is not disturbed.
        name: How messages call the source.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = os.dup(fd)
        self._name = name
        self._stop = threading.Event()
        self._state = hashlib.sha256()
        self._error: OSError | None = None
        self.size = 0
        self._thread = threading.Thread(target=self._read, name="source-digest", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while not self._stop.is_set() and (chunk := os.pread(self._fd, _CHUNK, self.size)):
                self._state.update(chunk)
                self.size += len(chunk)
        except OSError as error:
            self._error = error
        finally:
            os.close(self._fd)

    def result(self) -> str:
        """`sha256:` and the digest; waits for the end of the file.

        Raises:
            SourceCorrupt: It could not be read to its end.
        """
        self._thread.join()
        if self._error is not None:
            raise SourceCorrupt(
                "cannot be read to its end", where=self._name, actual=os.strerror(self._error.errno or 0)
            ) from self._error
        return f"sha256:{self._state.hexdigest()}"

    def stop(self) -> None:
        """Read no further; safe to call at any time and twice."""
        self._stop.set()
        self._thread.join()
