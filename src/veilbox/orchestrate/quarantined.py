"""Outputs in quarantine as a purge sees them: by age, all of a job together, for they have one key."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import InputError, OutputError, UsageError
from veilbox.orchestrate.sealed_sources import SEALED_SUFFIX, digest_of
from veilbox.vault.keys import KeyFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantinedOutput:
    """One output.

    Attributes:
        job: The job that put it there.
        item: Its number there.
        path: Where it lies.
        digest: Of what is encrypted; of the file as it lies there where its key is gone already.
        kept: When it was put there, UTC.
    """

    job: str
    item: int
    path: str
    digest: str
    kept: str


class QuarantinedOutputs:
    """The quarantine of a store; see `veilbox.orchestrate.quarantine`.

    Args:
        store: Its root.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._keys = KeyFolder.of(store)

    def older_than(self, moment_s: float) -> list[QuarantinedOutput]:
        """Every output of the jobs that put their last one there before a moment, the oldest job first."""
        jobs = []
        for folder in (self._store / "quarantine").glob("*"):
            files = sorted(folder.glob(f"*{SEALED_SUFFIX}")) if folder.is_dir() and not folder.is_symlink() else []
            newest_s = max((file.lstat().st_mtime for file in files), default=moment_s + 1)
            if newest_s <= moment_s:
                jobs.append((newest_s, folder.name, files))
        return [self._output(job, file) for _, job, files in sorted(jobs) for file in files]

    def everything(self) -> list[QuarantinedOutput]:
        """Every output, the oldest job first."""
        return self.older_than(math.inf)

    def named(self, name: str) -> QuarantinedOutput:
        """The output of a job and a number.

        Args:
            name: `JOB/ITEM`.

        Raises:
            UsageError: There is none.
        """
        job, _, item = name.partition("/")
        path = self._store / "quarantine" / job / f"{item}{SEALED_SUFFIX}"
        if not (job.isalnum() and item.isdecimal() and path.is_file()):
            raise UsageError(
                "no such output in quarantine",
                where=name,
                expected="JOB/ITEM",
                advice="`veilbox quarantine list` names them",
            )
        return self._output(job, path)

    def leave(self, output: QuarantinedOutput) -> None:
        """Remove an output that was released, and its job's key with the last one.

        Raises:
            OutputError: It cannot be removed.
        """
        if not any(one.name != Path(output.path).name for one in Path(output.path).parent.glob(f"*{SEALED_SUFFIX}")):
            self.destroy_key(output)
        self.forget(output)

    def _output(self, job: str, file: Path) -> QuarantinedOutput:
        number = file.name.removesuffix(SEALED_SUFFIX)
        try:
            digest = digest_of(self._store, file)
        except InputError:
            digest = str(Digest.of(file.read_bytes()))
        kept = datetime.fromtimestamp(file.lstat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        item = int(number) if number.isdecimal() else 0
        return QuarantinedOutput(job=job, item=item, path=str(file), digest=digest, kept=kept)

    def destroy_key(self, output: QuarantinedOutput) -> None:
        """Destroy the key of an output's job."""
        self._keys.destroy(f"{output.job}-quarantine")

    def forget(self, output: QuarantinedOutput) -> None:
        """Remove an output, and its job's folder with the last one.

        Raises:
            OutputError: It cannot be removed.
        """
        path = Path(output.path)
        try:
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise OutputError(
                "cannot remove an output in quarantine", where=str(path), actual=os.strerror(error.errno or 0)
            ) from error
