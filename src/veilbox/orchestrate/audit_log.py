"""Where the audit log lies on this machine, and who may have it open.

Only the audit component reads and writes the log and its key; the supervisor opens the files and hands descriptors
down. It never reads the private key.

    audit/lock                        held by every job (shared) and by whoever begins a new segment (exclusive)
    audit/entries/<first index>.jsonl segments: one line of JSON for each entry
    audit/tree, audit/checkpoints     hashes; every signed checkpoint
    audit/key                         the private key, mode 0600
    audit/key.pub                     the public key
    audit/names.key                   the secret of the keyed digests of file names
    audit/policies/<digest>.json      what the policy digests of entries stand for
    audit/sboms/<digest>.json         likewise the SBOMs of the images (CycloneDX)
    audit/attestations/<job>.json     a DSSE envelope for each job that released something
"""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import LogError, OutputError, VeilboxError

# A segment of this size holds a few hundred thousand entries: it is archived or mailed as one file.
SEGMENT_BYTES = 128 << 20
_SUFFIX = ".jsonl"
_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFolder:
    """The log's folder, locked for one job.

    Attributes:
        root: The folder.
        names: The secret of the keyed digests of file names.
    """

    root: Path
    names: bytes

    def keyed(self, path: str) -> str:
        """A path's keyed digest."""
        return keyed_name(self.names, path)

    def segment(self) -> Path:
        """The file that entries are appended to while this folder is locked."""
        return segments(self.root)[-1]

    @contextmanager
    def descriptors(self) -> Iterator[tuple[int, list[int]]]:
        """The index of the current segment's first entry; entries, tree, checkpoints and key, open for this moment."""
        segment = self.segment()
        files = (segment, self.root / "tree", self.root / "checkpoints", self.root / "key")
        with ExitStack() as stack:
            fds = [_opened(path) for path in files]
            for fd in fds:
                stack.callback(os.close, fd)
            yield first_index(segment), fds

    def publish(self, key: str) -> None:
        """Write the public key beside the log, once.

        Raises:
            LogError: Another one is there.
        """
        path = self.root / "key.pub"
        with _writing(path):
            if not path.exists():
                _write_whole(path, f"{key}\n".encode())
            known = path.read_text("ascii", "replace").strip()
        if known != key:
            raise LogError(
                "the log is signed with another key than before",
                where=str(path),
                expected=known,
                actual=key,
                advice="Keep the folder as evidence, or restore the key file from its backup",
            )

    def keep_policy(self, policy: bytes) -> Digest:
        """Keep a policy's canonical JSON under its digest."""
        return self._keep("policies", policy)

    def keep_sbom(self, sbom: bytes) -> Digest:
        """Keep an image's SBOM under its digest."""
        return self._keep("sboms", sbom)

    def _keep(self, folder: str, content: bytes) -> Digest:
        digest = Digest.of(content)
        path = self.root / folder / f"{digest.hex}.json"
        with _writing(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if not path.exists():
                _write_whole(path, content)
        return digest

    @contextmanager
    def attestation(self, job: str) -> Iterator[int]:
        """A descriptor for a job's envelope; the file gets its name if something was written."""
        path = self.root / "attestations" / f"{job}.json"
        with _writing(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            fd = os.open(temporary, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield fd
            if os.fstat(fd).st_size:
                temporary.replace(path)
        finally:
            os.close(fd)
            temporary.unlink(missing_ok=True)


@contextmanager
def open_log(store: Path) -> Iterator[LogFolder]:
    """The audit log of a store, for the time of a job; begins a new segment where one is full and nobody else works.

    Args:
        store: The store's root.

    Raises:
        OutputError: The folder or its files cannot be made or opened.
    """
    root = store / "audit"
    with ExitStack() as stack:
        with _writing(root):
            (root / "entries").mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)
            lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, lock)
            _rotate_if_full(root, lock)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not segments(root):
                os.close(_opened(root / "entries" / _segment_name(0)))
            names = _secret(root / "names.key")
        yield LogFolder(root=root, names=names)


def keyed_name(secret: bytes, path: str) -> str:
    """A path's keyed digest: HMAC-SHA-256 of its absolute form (RFC 2104)."""
    return f"hmac-sha256:{hmac.digest(secret, os.fsencode(Path(path).absolute()), 'sha256').hex()}"


def names_secret(root: Path) -> bytes:
    """The secret of a log's keyed digests.

    Raises:
        OutputError: It cannot be read.
    """
    with _writing(root):
        return (root / "names.key").read_bytes()


def rotate(root: Path) -> Path:
    """Begin a new segment, whatever the size of the last.

    Args:
        root: The log's folder.

    Returns:
        The new segment; the last one if it is still empty.

    Raises:
        OutputError: A job is running, or the folder cannot be written.
        LogError: The log's last checkpoint cannot be read.
    """
    with _writing(root):
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _begin_segment(root)
        except BlockingIOError as error:
            raise OutputError(
                "a job writes the audit log", where=str(root), advice="Wait until no job runs, then run again"
            ) from error
        finally:
            os.close(lock)


def segments(root: Path) -> list[Path]:
    """The segments that are here, in order."""
    return sorted((root / "entries").glob(f"*{_SUFFIX}"))


def first_index(segment: Path) -> int:
    """The index of a segment's first entry, which is its name.

    Raises:
        LogError: The file is not named so.
    """
    stem = segment.name.removesuffix(_SUFFIX)
    if not (stem.isascii() and stem.isdecimal() and segment.name == _segment_name(int(stem))):
        raise LogError("not the name of a segment", where=str(segment), expected=f"20 digits and {_SUFFIX}")
    return int(stem)


def _segment_name(first: int) -> str:
    return f"{first:020d}{_SUFFIX}"


def _rotate_if_full(root: Path, lock: int) -> None:
    existing = segments(root)
    if not existing or existing[-1].stat().st_size < SEGMENT_BYTES:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # other jobs write to this one; a later job begins the next
    _begin_segment(root)


def _begin_segment(root: Path) -> Path:
    """The size of the tree names the segment; the audit component checks it against what was signed."""
    size = _signed_size(root / "checkpoints")
    path = root / "entries" / _segment_name(size)
    os.close(_opened(path))
    return path


def _signed_size(checkpoints: Path) -> int:
    lines = checkpoints.read_bytes().rpartition(b"\n\n")[0].split(b"\n") if checkpoints.exists() else []
    if not lines:
        return 0
    try:
        return int(lines[-2])
    except (ValueError, IndexError) as error:
        raise LogError("no checkpoint at the end of the checkpoints", where=str(checkpoints)) from error


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _secret(path: Path) -> bytes:
    if not path.exists():
        _write_whole(path, secrets.token_bytes(_SECRET_BYTES))
    return path.read_bytes()


def _write_whole(path: Path, data: bytes) -> None:
    """A file complete under its name or not at all; the first of several writers wins."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.close(fd)
        temporary.unlink()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except VeilboxError:
        raise
    except OSError as error:
        raise OutputError("cannot open the audit log", where=str(path), actual=os.strerror(error.errno or 0)) from error
