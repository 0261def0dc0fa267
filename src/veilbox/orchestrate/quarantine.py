"""Outputs that may not be released and are not thrown away: encrypted, under a key of their job.

<store>/keys/<job>-quarantine.key            opens every output of that job
<store>/quarantine/<job>/<item>.veilbox      `veilbox decrypt` opens it, for who has to look at it
"""

from __future__ import annotations

import os
from pathlib import Path

from veilbox.core.errors import OutputError
from veilbox.orchestrate.sealed_sources import SEALED_SUFFIX
from veilbox.orchestrate.staging import StagedOutput
from veilbox.vault.aes_gcm import encrypt_file
from veilbox.vault.keys import KeyFolder


class Quarantine:
    """Where one job's outputs go that are kept and not released.

    Args:
        store: The store's root.
        job: The job's id.
    """

    def __init__(self, store: Path, job: str) -> None:
        self._folder = store / "quarantine" / job
        self._keys = KeyFolder.of(store)
        self._key_name = f"{job}-quarantine"

    def keep(self, item: int, staged: StagedOutput) -> Path:
        """Encrypt a frozen output into the quarantine, on stable storage before this returns.

        Args:
            item: Its number in the job.
            staged: The output; it stays as it is.

        Returns:
            Where it lies.

        Raises:
            OutputError: It cannot be written; then nothing of it is kept.
        """
        path = self._folder / f"{item}{SEALED_SUFFIX}"
        key = self._keys.create(self._key_name)
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with StagedOutput.create(path, replace=False) as sealed:
                with (
                    os.fdopen(os.open(f"/proc/self/fd/{staged.fd}", os.O_RDONLY | os.O_CLOEXEC), "rb") as source,
                    os.fdopen(os.dup(sealed.fd), "wb") as destination,
                ):
                    encrypt_file(source, destination, key)
                sealed.sync()
                sealed.release()
        except OSError as error:
            raise OutputError(
                "cannot keep the output in quarantine",
                where=str(path),
                actual=os.strerror(error.errno or 0),
                advice="Free some space; nothing was released",
            ) from error
        return path
