"""A folder becomes a layer: a tar whose bytes depend on names and contents alone.

Source: OCI image-spec 1.1.1, layer.md; the rules of reproducible-builds.org for archives. Order, owners, modes and
times come from here and not from the machine, so umask, user, time zone and folder of a build leave no trace.
"""

from __future__ import annotations

import os
import stat
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.compression import CompressedTar, Compression, InflatedTar
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.spec import Descriptor

# 2026-01-01T00:00:00Z. Any constant would do; a date that unpacking tools do not take for damage is kinder than 0.
SOURCE_DATE_EPOCH: Final = 1_767_225_600
CREATED: Final = "2026-01-01T00:00:00Z"

_PATH_MAX = 4096  # Linux's, the final 0 included
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A layer in a layout: what the manifest says of it, and the digest of its tar for the configuration."""

    descriptor: Descriptor
    diff_id: Digest


def pack(
    folder: Path,
    layout: Layout,
    *,
    executables: Sequence[str] = (),
    compression: Compression = Compression.GZIP,
) -> Packed:
    """Store a folder's content as one compressed layer.

    Args:
        folder: What stands at `/` in the image; its own mode and owner do not matter.
        layout: Where the layer goes.
        executables: Patterns (fnmatch, relative to the folder) of the only files that may be run.
        compression: How; the tar is the same for each.

    Raises:
        ImageError: The folder holds what no layer of ours may have: a device, a socket, an absolute or climbing link.
    """
    with layout.incoming() as blob:
        compressed = CompressedTar(blob, compression)
        with tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for path in _sorted_tree(folder):
                _add(tar, folder, path, executables)
        diff_id = compressed.finish()
    descriptor = Descriptor(media_type=compression.media_type, digest=blob.digest, size=blob.size)
    return Packed(descriptor=descriptor, diff_id=diff_id)


def recompress(packed: Packed, layout: Layout, compression: Compression) -> Packed:
    """Store a layer's tar once more, compressed in another way.

    Raises:
        ImageError: The stored blob is not what it was.
    """
    with layout.open(packed.descriptor) as blob, layout.incoming() as recompressed:
        inflated = InflatedTar(blob, Compression.of(packed.descriptor.media_type), sys.maxsize)  # a layer of our own
        compressed = CompressedTar(recompressed, compression)
        while chunk := inflated.read(_CHUNK):
            compressed.write(chunk)
        blob.drain()
        if compressed.finish() != packed.diff_id:
            raise ImageError("layer is not the one that was packed", where=packed.diff_id.text)
    described = Descriptor(media_type=compression.media_type, digest=recompressed.digest, size=recompressed.size)
    return Packed(descriptor=described, diff_id=packed.diff_id)


def _sorted_tree(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name)):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _sorted_tree(entry)


def _add(tar: tarfile.TarFile, folder: Path, path: Path, executables: Sequence[str]) -> None:
    name = path.relative_to(folder).as_posix()
    info = tarfile.TarInfo(name)
    info.mtime = SOURCE_DATE_EPOCH
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, inner_link(name, str(path.readlink()))
        tar.addfile(info)
    elif stat.S_ISREG(status.st_mode):
        info.size, info.mode = status.st_size, _file_mode(name, executables)
        with path.open("rb") as content:
            tar.addfile(info, content)
    else:
        raise ImageError("neither file, folder nor link", where=name, actual=stat.filemode(status.st_mode))


def _file_mode(name: str, executables: Sequence[str]) -> int:
    return 0o755 if any(fnmatchcase(name, pattern) for pattern in executables) else 0o644


def inner_link(name: str, target: str) -> str:
    """A symbolic link's target if it stays inside the image whatever folder the image is mounted at.

    It may climb only at its beginning, where it climbs through folders of this very layer. After a name it may not:
    that name may be a link itself, and what is above its target is not what is above the name (of a `d`
    in the root that points at `.`, `d/..` is outside, although the text is not).

    Args:
        name: The link's own path, relative to the image's root.
        target: Where it points.

    Raises:
        ImageError: The target is empty, absolute, climbs above the root, or climbs after a name.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    climbs = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    inside = climbs <= name.count("/") and ".." not in parts[climbs:]
    if not target or target.startswith("/") or not inside or len(os.fsencode(target)) >= _PATH_MAX:
        raise ImageError("symbolic link leaves the image", where=name, actual=target)
    return target
