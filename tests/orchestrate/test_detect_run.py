"""Boxes leave the detecting pod as numbers, and a detector that lies or dies ends the job by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stage import CANARIES, PROGRAMS, Clock, Stage, clock

from veilbox.components.introduction import Introduction, encode_introduction
from veilbox.core.control import Configure, FromComponent, ItemDone, ItemFailed, ItemStarted
from veilbox.core.detections import Detections
from veilbox.core.errors import ComponentDied, Failure, ProtocolError, SourceCorrupt, VeilboxError
from veilbox.core.job import Item, Job
from veilbox.core.policy import Policy
from veilbox.core.stream import Kind
from veilbox.core.zones import Zone, parse_zone
from veilbox.orchestrate.detect import DetectRun
from veilbox.orchestrate.plan import detect_plan
from veilbox.orchestrate.pod import Pod
from veilbox.orchestrate.progress import Silent
from veilbox.transport.channel import Channel
from veilbox.transport.messages import Boxes, End, Message, Start

__all__ = ["clock"]

POLICY = Policy(deadline_s=2)
WHO = "detect-centerface"
STARTED = ItemStarted(item=0, first_sequence=0, kind=Kind.FILM, width=640, height=352, frames=1, rotation=0)
START = Start(item=0, info=encode_introduction(Introduction(classes=("face",), threshold=0.5, floor=0.1)))
END = End(item=0, frames=1, aborted=False)


def boxes(kind: int = 0) -> Boxes:
    found = Detections(
        np.array([[10, 20, 30, 60]], np.float32), np.array([0.9], np.float32), np.array([kind], np.int32)
    )
    return Boxes(sequence=0, payload=found.pack())


class _Detecting(Stage):
    """A stage that keeps the boxes edge; its detector knows a class that no policy of ours asks for."""

    classes = ("face", "words of a hostile image")
    edge: Channel

    def enter(self) -> None:
        ((configure, fds),) = self[WHO].hear()
        assert isinstance(configure, Configure)
        for end, fd in zip(configure.ends, fds, strict=True):
            held = Channel.from_fd(fd)
            if end.edge == "boxes":
                self.edge = held
            else:
                held.close()
        super().enter()

    def send(self, *messages: Message) -> None:
        for message in messages:
            assert self.edge.try_send(message)


class _Beats(Silent):
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def advance(self, index: int, frames: int) -> None:
        del index, frames
        self._stage.beat()


@pytest.fixture
def stage(clock: Clock) -> Iterator[_Detecting]:
    del clock
    stage = _Detecting()
    yield stage
    stage.edge.close()
    assert stage.stopped == 1


def run(
    stage: _Detecting, source: Path, play: Callable[[_Detecting], None], *, zones: tuple[Zone, ...] = ()
) -> DetectRun:
    """Run a job of one film whose components have said everything before."""
    source.write_bytes(b"raw")
    policy = replace(POLICY, zones=zones)
    job = Job(items=(Item(source=source, output=None, name="in0"),), policy=policy)
    with Pod(detect_plan(policy, PROGRAMS, cpus=2), stage, policy, CANARIES) as pod:
        stage.enter()
        pod.await_ready()
        ran = DetectRun(job, pod, _Beats(stage), (WHO,))
        play(stage)
        ran.run()
    return ran


def honest(stage: _Detecting) -> None:
    stage["ingest"].say(STARTED, ItemDone(item=0, frames=1))
    stage.send(START, boxes(), END)
    stage[WHO].say(ItemDone(item=0, frames=1))


def test_boxes_come_in_pixels_of_the_film(stage: _Detecting, tmp_path: Path) -> None:
    ran = run(stage, tmp_path / "in.mp4", honest)
    (box,) = ran.boxes
    assert [(one.name, one.film, one.width, one.height, one.frames) for one in ran.searched] == [
        ("in0", True, 640, 352, 1)
    ]
    assert ran.thresholds["face"] == 0.5
    assert (box.frame, box.category, box.film) == (0, "face", True)
    assert box.xywh == pytest.approx((10, 20, 20, 40))


@pytest.mark.parametrize(
    ("zone", "left"),
    [("keep 0,0 1,0 1,1 0,1", 0), ("keep 640x352 0,0 40,0 40,70 0,70", 0), ("keep 640x352 0,0 25,0 25,70 0,70", 1)],
)
def test_what_lies_wholly_in_a_zone_that_keeps_is_left_out(
    stage: _Detecting, tmp_path: Path, zone: str, left: int
) -> None:
    assert len(run(stage, tmp_path / "in.mp4", honest, zones=(parse_zone(zone),)).boxes) == left


def says(name: str, *messages: FromComponent) -> Callable[[_Detecting], None]:
    return lambda stage: stage[name].say(*messages)


def unknown_class(stage: _Detecting) -> None:
    stage["ingest"].say(STARTED)
    stage.send(START, boxes(kind=3), END)


def unasked_class(stage: _Detecting) -> None:
    stage["ingest"].say(STARTED)
    stage.send(START, boxes(kind=1), END)


def renamed_class(stage: _Detecting) -> None:
    renamed = Introduction(classes=("what it has read",), threshold=0.5, floor=0.1)
    stage["ingest"].say(STARTED, ItemDone(item=0, frames=1))
    stage.send(Start(item=0, info=encode_introduction(renamed)), boxes(), END)
    stage[WHO].say(ItemDone(item=0, frames=1))


def test_a_class_renamed_after_pictures_were_seen_keeps_its_name(stage: _Detecting, tmp_path: Path) -> None:
    (box,) = run(stage, tmp_path / "in.mp4", renamed_class).boxes
    assert box.category == "face"


def edge_closed(stage: _Detecting) -> None:
    stage["ingest"].say(STARTED)
    stage.edge.close()


def dies(stage: _Detecting) -> None:
    stage["ingest"].say(STARTED)
    stage.edge.close()
    stage[WHO].die(137)


BAD = ItemFailed(item=0, failure=Failure(kind="SourceCorrupt", what="cut off"))
HOSTILE: list[tuple[str, Callable[[_Detecting], None], type[VeilboxError], str]] = [
    ("an unknown class", unknown_class, ProtocolError, f"{WHO}: a detector found a class"),
    ("a class not asked for", unasked_class, ProtocolError, f"{WHO}: a detector found a class that was not asked"),
    ("an edge closed", edge_closed, ComponentDied, f"{WHO}: ended"),
    ("killed", dies, ComponentDied, f"{WHO}: .*signal 9"),
    ("started by the detector", says(WHO, STARTED), ProtocolError, f"{WHO}: unexpected message"),
    ("started twice", says("ingest", STARTED, STARTED), ProtocolError, "ingest: unexpected message"),
    ("failed by the detector", says(WHO, BAD), ProtocolError, f"{WHO}: unexpected message"),
    ("a bad source", says("ingest", BAD), SourceCorrupt, "in0: cut off"),
]


@pytest.mark.parametrize(("play", "error", "text"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_ends_the_job(
    stage: _Detecting, tmp_path: Path, play: Callable[[_Detecting], None], error: type[VeilboxError], text: str
) -> None:
    with pytest.raises(error, match=text):
        run(stage, tmp_path / "in.mp4", play)
