"""An output leaves the quarantine by a decision on record, as verify saw it, or not at all. The log is a real one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from veilbox.audit.entry import Decision, Deleted
from veilbox.core.digest import Digest
from veilbox.core.errors import LogError, SourceCorrupt, SourceMissing, UsageError, VeilboxError
from veilbox.orchestrate.audit_reader import LogReader
from veilbox.orchestrate.audit_session import session_on
from veilbox.orchestrate.audit_trail import AuditTrail
from veilbox.orchestrate.plan import Program, audit_plan
from veilbox.orchestrate.quarantine import Quarantine
from veilbox.orchestrate.quarantine_release import release
from veilbox.orchestrate.quarantined import QuarantinedOutputs
from veilbox.orchestrate.report import Output
from veilbox.orchestrate.staging import StagedOutput
from veilbox.orchestrate.threads import ThreadLauncher
from veilbox.vault.aes_gcm import encrypt_file
from veilbox.vault.keys import KeyFolder

JOB, LATER = "aaaa0000", "bbbb0000"
CONTENT = b"redacted"
PLAN = audit_plan({"audit": Program(image=Digest.of(b""), args=(), env=())}, cpus=1)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def session(store: Path, job: str) -> AbstractContextManager[AuditTrail]:
    return session_on(PLAN, ThreadLauncher({}), log_root=store, job_id=job)


def held_back(store: Path, *, items: int = 1, logged: bool = True) -> Path:
    """What a job leaves whose outputs go into quarantine; the folder of them."""
    quarantine = Quarantine(store, JOB)
    with session(store, JOB) as trail:
        for item in range(items):
            with StagedOutput.create(store / "out.mp4", replace=False) as staged:
                with open(staged.fd, "wb", closefd=False) as file:
                    file.write(CONTENT)
                quarantine.keep(item, staged)
            output = SimpleNamespace(digest=digest(CONTENT), bytes=len(CONTENT))
            if logged:
                trail.quarantined(item, cast("Output", output))
    return store / "quarantine" / JOB


def let_out(store: Path, output: Path, name: str = f"{JOB}/0") -> str:
    return release(store, name, output, reason="false-alarm", session=lambda: session(store, LATER))


def test_it_gets_its_name_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder, output = held_back(tmp_path), tmp_path / "street.mp4"
    assert let_out(tmp_path, output) == digest(CONTENT)
    assert output.read_bytes() == CONTENT
    assert not folder.exists()
    assert list((tmp_path / "keys").iterdir()) == []
    with LogReader.open(tmp_path / "audit") as log:
        later = [line.entry for line in log.job(JOB) if line.entry.job == LATER]
    decision, deletion = later
    assert isinstance(decision, Decision)
    assert (decision.decision, decision.reason, decision.item) == ("release-quarantine", "false-alarm", 0)
    assert (decision.digest, decision.of) == (digest(CONTENT), JOB)
    assert isinstance(deletion, Deleted)
    assert (deletion.what, deletion.digest, deletion.of) == ("quarantine", digest(CONTENT), JOB)


def test_others_of_the_job_stay_openable(tmp_path: Path) -> None:
    folder = held_back(tmp_path, items=2)
    let_out(tmp_path, tmp_path / "street.mp4")
    assert [path.name for path in folder.iterdir()] == ["1.veilbox"]
    assert let_out(tmp_path, tmp_path / "other.mp4", f"{JOB}/1") == digest(CONTENT)


def _another_content(store: Path, folder: Path) -> None:
    with (folder / "0.veilbox").open("wb") as file:
        encrypt_file(io.BytesIO(b"not redacted"), file, KeyFolder.of(store).create(f"{JOB}-quarantine"))


def _flipped(store: Path, folder: Path) -> None:
    del store
    path = folder / "0.veilbox"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


def _without_key(store: Path, folder: Path) -> None:
    del folder
    KeyFolder.of(store).destroy(f"{JOB}-quarantine")


def _name_taken(store: Path, folder: Path) -> None:
    del folder
    (store / "street.mp4").write_bytes(b"mine")


REFUSED: list[tuple[Callable[[Path, Path], None], type[VeilboxError], str]] = [
    (_another_content, LogError, "not what verify looked at"),
    (_flipped, SourceCorrupt, "was changed"),
    (_without_key, SourceMissing, "key"),
    (_name_taken, UsageError, "exists"),
]


@pytest.mark.parametrize(("change", "error", "text"), REFUSED)
def test_nothing_else_is_released(
    tmp_path: Path, change: Callable[[Path, Path], None], error: type[VeilboxError], text: str
) -> None:
    folder, output = held_back(tmp_path), tmp_path / "street.mp4"
    change(tmp_path, folder)
    with pytest.raises(error, match=text):
        let_out(tmp_path, output)
    assert not output.exists() or output.read_bytes() == b"mine"
    assert (folder / "0.veilbox").is_file()
    with LogReader.open(tmp_path / "audit") as log:
        assert [line for line in log.job(JOB) if isinstance(line.entry, Decision)] == []


def test_an_output_that_the_log_does_not_know_is_not_vouched_for(tmp_path: Path) -> None:
    held_back(tmp_path, logged=False)
    with pytest.raises(LogError, match="does not know"):
        let_out(tmp_path, tmp_path / "street.mp4")


@pytest.mark.parametrize("name", ["", "aaaa0000", "aaaa0000/7", "../aaaa0000/0", "aaaa0000/../0"])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    held_back(tmp_path)
    with pytest.raises(UsageError, match="no such output"):
        let_out(tmp_path, tmp_path / "street.mp4", name)


def test_the_list_has_them_all(tmp_path: Path) -> None:
    held_back(tmp_path, items=2)
    listed = QuarantinedOutputs(tmp_path).everything()
    assert [(one.job, one.item, one.digest) for one in listed] == [(JOB, 0, digest(CONTENT)), (JOB, 1, digest(CONTENT))]
