"""Who runs against whom: each contender is a command on a film or a folder, some leave a report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import films
from figures import ROOT

BIN = Path(sys.executable).parent
WORK = ROOT / "build" / "bench"

Command = list[str | Path]

# The pace that the goals of added latency are set for.
CAMERA_FPS = 30


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command.

    Attributes:
        seconds: Wall time.
        processor_s: Of the command and its children; what containers use is in their report instead.
    """

    seconds: float
    processor_s: float


@dataclass(frozen=True, slots=True)
class Rounds:
    """What interleaved rounds gave, by contender."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def seconds(self, name: str) -> tuple[float, ...]:
        """Wall times of a contender, by round."""
        return tuple(run.seconds for run in self.runs[name])

    def ratio(self, above: str, below: str) -> tuple[float, ...]:
        """Wall times of one over another's, round by round, so that both saw the same machine."""
        pairs = zip(self.seconds(above), self.seconds(below), strict=True)
        return tuple(a / b for a, b in pairs)

    def metric(self, name: str, read: Callable[[dict[str, Any]], float]) -> tuple[float, ...]:
        """A number of each of a contender's reports."""
        return tuple(float(read(report)) for report in self.reports[name])


def interleaved(contenders: Mapping[str, Callable[[], Command]], rounds: int, what: str) -> Rounds:
    """Run all contenders by turns: a slow moment of the machine meets every one of them."""
    told = Rounds({name: [] for name in contenders}, {name: [] for name in contenders})
    for number in range(rounds):
        for name, command in contenders.items():
            say(f"{what}: round {number + 1} of {rounds}: {name}")
            report = WORK / f"{name.replace(' ', '-')}.json"
            report.unlink(missing_ok=True)
            told.runs[name].append(timed(command()))
            if report.is_file():
                told.reports[name].append(json.loads(report.read_text(encoding="utf-8")))
    return told


def sealed(source: Path, *options: str, name: str = "sealed") -> Command:
    """The command that users type; a folder gives a folder."""
    output = WORK / f"{name}{source.suffix}"
    told = WORK / f"{name}.json"
    return [BIN / "veilbox", "anonymize", source, "-o", output, "--overwrite", "--quiet", "--report", told, *options]


def paced(film: Path, *options: str, name: str) -> Command:
    """The same command on a film whose frames come at a camera's pace."""
    program = Path(__file__).with_name("paced.py")
    _, *arguments = sealed(film, "--low-latency", *options, name=name)
    return [sys.executable, program, str(CAMERA_FPS), *arguments]


def one_process(film: Path) -> Command:
    """The same components without containers."""
    program = Path(__file__).with_name("one_process.py")
    return [sys.executable, program, film, WORK / "one-process.mp4", films.models(), WORK / "one-process.json"]


def transcode(source: Path) -> Command:
    """Decode and encode alone; a folder gives a folder."""
    return [sys.executable, Path(__file__).with_name("transcode.py"), source, WORK / f"transcode{source.suffix}"]


def deface(film: Path) -> Command:
    """The peer with its own defaults; it takes ONNX Runtime where that is installed, its fastest on processors."""
    return [BIN / "deface", film, "-o", WORK / "deface.mp4"]


def timed(command: Sequence[str | Path]) -> Run:
    """Run a command to its end; its words are shown only if it fails."""
    return together([command])


def together(commands: Iterable[Sequence[str | Path]]) -> Run:
    """Run commands at once, until the last one ends.

    Raises:
        SystemExit: One of them failed; the others are waited for first.
    """
    began, before = time.monotonic(), os.times()
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for command in commands
    ]
    words = [process.communicate()[1] for process in started]
    seconds, after = time.monotonic() - began, os.times()
    for process, said in zip(started, words, strict=True):
        if process.returncode:
            sys.stderr.write(said.decode("utf-8", "replace")[-2000:])
            raise SystemExit(f"a contender failed with status {process.returncode}")
    used = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    return Run(seconds, used)


def say(text: str) -> None:
    """What goes on, to whoever waits."""
    sys.stderr.write(f"bench: {text}\n")
