"""The program as a user runs it, films to give it, and what it could leave behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream

VEILBOX = Path(sys.executable).with_name("veilbox")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run of the program."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.stdout)


RunVeilbox = Callable[..., Run]


def make_film(path: Path, *, frames: int, size: tuple[int, int] = (640, 360), encoder: str = "libx264") -> None:
    """A film with one large face that moves."""
    from skimage import data  # noqa: PLC0415 - slow to import

    face = cast("Any", data).astronaut()[20:276, 96:352]
    width, height = size
    with av.open(str(path), "w") as container:
        stream = cast("VideoStream", container.add_stream(encoder, rate=25))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = np.full((height, width, 3), 96, np.uint8)
            left = 20 + 4 * index % max(1, width - 300)
            picture[40 : 40 + 256, left : left + 256] = face
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@dataclass(frozen=True)
class Leftovers:
    """Everything on this machine that a job of veilbox could leave behind."""

    processes: frozenset[int]
    cgroups: frozenset[str]
    mounts: frozenset[str]
    run_folders: frozenset[str]

    @classmethod
    def here(cls) -> Leftovers:
        """Look now."""
        return cls(_processes(), _cgroups(), _mounts(), _run_folders())


def _processes() -> frozenset[int]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"veilbox.components" in line:
                found.add(int(folder.name))
    return frozenset(found)


def _cgroups() -> frozenset[str]:
    return frozenset(str(path) for path in Path("/sys/fs/cgroup").rglob("*veilbox*"))


def _mounts() -> frozenset[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return frozenset(line for line in lines if "veilbox" in line)


def _run_folders() -> frozenset[str]:
    roots = (Path("/run/veilbox"), Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "veilbox")
    return frozenset(str(path) for root in roots if root.is_dir() for path in root.iterdir() if path.name != "ids")
