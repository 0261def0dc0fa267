"""verify finds what was put into a finished output behind anonymize's back, and nothing in an honest one."""

from __future__ import annotations

import io
import math
import os
import select
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from veilbox.components import entry, second, verify
from veilbox.components.session import Session
from veilbox.core.control import Canaries, Configure, EdgeEnd, Finish, OpenOutput, Ready, Verified
from veilbox.core.detections import Detections
from veilbox.core.findings import Finding, FindingKind
from veilbox.core.metadata import Metadata
from veilbox.core.policy import Detection, Keep, Policy, Redaction, Shape, Style, Verdict
from veilbox.core.regions import Regions
from veilbox.core.stream import Kind, StreamInfo
from veilbox.core.timing import Timeline
from veilbox.core.zones import Zone
from veilbox.media.encoder import open_encoder
from veilbox.oci.admit import admit
from veilbox.oci.image.store import ImageStore
from veilbox.orchestrate.verdict import judged
from veilbox.transport.channel import Channel, pair
from veilbox.transport.control import SupervisorControl
from veilbox.transport.messages import Boxes
from veilbox.transport.relay import Sender
from veilbox.vision.redact import Noise, Redactor, planes_of

WIDTH, HEIGHT = 320, 240
TRACK = 7
Pixels = NDArray[np.uint8]
Place = tuple[int, int, int]  # left, top, side
MIDDLE, CORNER, SMALL = (100, 70, 96), (0, 0, 72), (220, 160, 24)
DEFAULT = Policy()


class NobodyThere:
    """A detector that finds nothing, so that what is found is found otherwise."""

    class card:  # noqa: N801 - stands in for an attribute
        classes = ("face",)
        digest = "sha256:00"
        stride = 32
        floor = 0.6

    threshold = floor = 0.6

    def detect(self, picture: Pixels, places: object = None) -> Detections:
        del picture
        assert places is None
        return Detections.empty()


class ColourfulThings(NobodyThere):
    """A detector that takes everything that is neither grey nor black for one face."""

    def detect(self, picture: Pixels, places: object = None) -> Detections:
        assert places is None
        rows, columns = np.nonzero(np.ptp(picture.astype(np.int32), axis=2) > 40)
        if not len(rows):
            return Detections.empty()
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return Detections(box, np.array([0.9], np.float32), np.zeros(1, np.int32))


def face(side: int) -> Pixels:
    """The astronaut's, public domain."""
    portrait = Image.fromarray(cast("Any", data).astronaut()[20:276, 96:352])
    return np.asarray(portrait.resize((side, side)))


def raw(place: Place) -> Pixels:
    """A frame with a face at a place."""
    left, top, side = place
    frame = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
    frame[top : top + side, left : left + side] = face(side)
    return frame


def regions(place: Place) -> Regions:
    left, top, side = place
    one = np.array([TRACK], np.int32)
    return Regions(np.array([[left, top, left + side, top + side]], np.float32), one, one * 0, one * 0)


INFO = StreamInfo(
    kind=Kind.FILM,
    width=WIDTH,
    height=HEIGHT,
    pixel_format="yuv420p",
    time_base=(1, 25),
    frame_rate=(25, 1),
)


def yuv(frame: Pixels) -> bytearray:
    """The frame as a ring has it."""
    import av  # noqa: PLC0415 - slow to import

    planar = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p").to_ndarray()
    return bytearray(planar.tobytes())


class Staged:
    """A film that export has finished, and what was said about it.

    Args:
        folder: Where.
        frames: How many.
        place: Of the face.
        policy: How it is hidden.
        left: Frames in which it is not.
    """

    def __init__(
        self,
        folder: Path,
        *,
        frames: int = 30,
        place: Place = MIDDLE,
        policy: Policy = DEFAULT,
        left: Sequence[int] = (),
        suffix: str = "mp4",
    ) -> None:
        self.path = folder / f"staged.{suffix}"
        self.suffix = suffix
        self.policy = policy
        self.hidden = [regions(place)] * frames
        self.frames = frames
        plain = yuv(raw(place))
        clean = bytearray(plain)
        redactor = Redactor(policy.redaction, Noise.fresh())
        redactor.redact(planes_of(memoryview(clean), INFO.layout), INFO.layout, regions(place), full_range=False)
        times = Timeline(INFO.seconds_per_pts)
        with self.path.open("w+b") as file, open_encoder(file, suffix, INFO, policy.encoding, threads=2) as encoder:
            for number in range(frames):
                encoder.write(memoryview(plain if number in left else clean), number, 1)
                times.add(number)
        self.times = times.word

    def told(self, **other: Any) -> OpenOutput:
        """What the supervisor says about it."""
        fields: dict[str, Any] = {
            "item": 0,
            "suffix": self.suffix,
            "kind": Kind.FILM,
            "width": WIDTH,
            "height": HEIGHT,
            "rotation": 0,
            "frames": self.frames,
            "times": self.times,
            "metadata": Metadata().word,
        }
        return OpenOutput(**fields | other)


class _Writable:
    """Waits until the edge takes more."""

    def wait(self, *, readable: Sequence[Channel] = (), writable: Sequence[Channel] = ()) -> None:
        poll = select.poll()
        for channel in writable:
            poll.register(channel.fileno(), select.POLLOUT)
        for channel in readable:
            poll.register(channel.fileno(), select.POLLIN)
        poll.poll(1000)


class _WithModels:
    def __init__(self, models: Path) -> None:
        self._models = models

    def run(self, session: Session) -> None:
        second.run(session, self._models)


Ends = list[tuple[EdgeEnd, socket.socket]]


class Running:
    """A component in a thread, and the supervisor's end of its conversation."""

    def __init__(self, name: str, component: entry.Component, policy: Policy, ends: Ends) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.name = name
        self.control = SupervisorControl(ours, name)
        self._thread = threading.Thread(
            target=entry.serve, args=(name, component, theirs), kwargs={"first_ns": 0}, daemon=True
        )
        self._thread.start()
        canaries = Canaries(path="", tcp_port=1, abstract_socket="")
        edges = tuple(end for end, _ in ends)
        configure = Configure(policy=policy, ends=edges, canaries=canaries, ring_bytes=64 << 20)
        self.control.send(configure, [sock.fileno() for _, sock in ends])
        for _, sock in ends:
            sock.close()
        self.ready: Ready = _expect(self.control, Ready)

    def end(self) -> None:
        self.control.close()
        self._thread.join()


def _second_look(policy: Policy, models: Sequence[Path], folder: Path) -> tuple[list[Running], Ends]:
    """The second detectors, and verify's ends of their edges."""
    own: Ends = []
    running = []
    for number, path in enumerate(models):
        name = f"second-{number}"
        (mine, ring), (taken, boxes) = pair(), pair()
        own.append((EdgeEnd(edge="second", peer=name, producer=True, ring=str(folder)), mine))
        own.append((EdgeEnd(edge="boxes", peer=name, producer=False), taken))
        ends = [
            (EdgeEnd(edge="second", peer="verify", producer=False, ring=str(folder)), ring),
            (EdgeEnd(edge="boxes", peer="verify", producer=True), boxes),
        ]
        running.append(Running(name, _WithModels(path), policy, ends))
    return running, own


def look(
    staged: Staged, models: Sequence[Path] = (Path(),), *, aborted: bool = False, leaves: bool = False, **told: Any
) -> Verified:
    """Run the component and its detectors over one output, in threads.

    Args:
        staged: The output.
        models: A second detector's folder of models each.
        aborted: Whether a next item is aborted before.
        leaves: Whether anonymize is gone by then.
        told: In place of what the supervisor says of the output.
    """
    with tempfile.TemporaryDirectory() as folder:
        running, own = _second_look(staged.policy, models, Path(folder))
        left, right = pair()
        own.append((EdgeEnd(edge="regions", peer="anonymize", producer=False), right))
        running.append(Running("verify", verify, staged.policy, own))
        control = running[-1].control
        stride = math.lcm(*(one.ready.stride for one in running[:-1]))
        sender = Sender(Channel(left, name="regions"), _Writable(), Boxes)
        sender.start(0)
        for number, hidden in enumerate(staged.hidden):
            sender.send(Boxes(sequence=number, payload=hidden.pack()))
        sender.end(0)
        if aborted:
            sender.start(1)
            sender.end(1, aborted=True)
        if leaves:
            sender.close()
        fd = os.open(staged.path, os.O_RDONLY)
        control.send(staged.told(analysis_stride=stride, **told), [fd])
        os.close(fd)
        try:
            verified: Verified = _expect(control, Verified)
            control.send(Finish())
            return verified
        finally:
            sender.close()
            for one in running:
                one.end()


def _expect(control: SupervisorControl, kind: type[Any]) -> Any:
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    while poll.poll(30_000):
        received = control.receive()
        if received is not None and isinstance(received[0], kind):
            return received[0]
        assert received is None or type(received[0]).__name__ not in ("Faulted", "Finished"), received
    pytest.fail("verify is silent")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "load", lambda *_: NobodyThere())
    monkeypatch.setattr(second, "read_card", lambda _: NobodyThere.card)
    monkeypatch.setattr(second, "model_folder", lambda models: models)


@pytest.fixture
def colourful(monkeypatch: pytest.MonkeyPatch, nobody: None) -> None:
    del nobody
    monkeypatch.setattr(second, "load", lambda *_: ColourfulThings())


STYLES = [
    Redaction(style=style, shape=shape, margin=margin) for style in Style for shape in Shape for margin in (0, 0.15)
]


@pytest.mark.usefixtures("nobody")
class TestHonest:
    @pytest.mark.parametrize("redaction", STYLES, ids=lambda one: f"{one.style}-{one.shape}-{one.margin}")
    @pytest.mark.parametrize("place", [MIDDLE, CORNER, SMALL])
    def test_every_style_counts_as_hidden(self, tmp_path: Path, redaction: Redaction, place: Place) -> None:
        staged = Staged(tmp_path, frames=4, place=place, policy=Policy(redaction=redaction))
        verified = look(staged)
        assert verified.findings == ()
        assert (verified.frames, verified.regions, verified.searched, verified.side) == (4, 4, 1, 800)

    @pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
    def test_every_container(self, tmp_path: Path, suffix: str) -> None:
        assert look(Staged(tmp_path, frames=4, suffix=suffix)).findings == ()

    def test_an_aborted_item_takes_nothing_from_the_one_before(self, tmp_path: Path) -> None:
        assert look(Staged(tmp_path, frames=4), aborted=True).findings == ()

    def test_anonymize_may_be_gone_when_it_has_told_all(self, tmp_path: Path) -> None:
        assert look(Staged(tmp_path, frames=4), leaves=True).findings == ()


@pytest.mark.usefixtures("colourful")
class TestPlanted:
    @pytest.mark.parametrize("style", Style)
    @pytest.mark.parametrize("place", [MIDDLE, CORNER, SMALL])
    def test_one_raw_frame_of_300_goes_into_quarantine(self, tmp_path: Path, place: Place, style: Style) -> None:
        policy = Policy(redaction=Redaction(style=style))
        verified = look(Staged(tmp_path, frames=300, place=place, policy=policy, left=(151,)))
        (finding,) = verified.findings
        assert (finding.kind, finding.where) == (FindingKind.UNCOVERED, f"track {TRACK}")
        assert (finding.count, finding.first, finding.last) == (1, 151, 151)
        assert [look.frame for look in finding.looks] == [151]
        assert judged(verified, policy.verification).verdict is Verdict.QUARANTINE

    def test_a_zone_that_is_not_black_in_one_frame_is_found(self, tmp_path: Path) -> None:
        grey = Zone(points=((0, 0), (0.3, 0), (0.3, 0.2), (0, 0.2)))
        (finding,) = look(Staged(tmp_path, frames=4, policy=Policy(zones=(grey,))), zones=(0,)).findings
        assert (finding.kind, finding.what, finding.where) == (FindingKind.UNCOVERED, "zone not hidden", "")
        assert (finding.count, finding.first, finding.last) == (4, 0, 3)

    def test_a_zone_of_another_camera_or_one_that_is_black_is_none(self, tmp_path: Path) -> None:
        left, top, side = MIDDLE
        corners = [(left + x, top + y) for x, y in ((8, 8), (side - 8, 8), (side - 8, side - 8), (8, side - 8))]
        black = Zone(points=tuple(corners), size=(WIDTH, HEIGHT))  # within the face, which is black
        policy = Policy(zones=(Zone(points=((0, 0), (1, 0), (1, 1))), black))
        assert look(Staged(tmp_path, frames=4, policy=policy), zones=(1,)).findings == ()

    def test_a_face_in_a_zone_that_keeps_may_be_seen(self, tmp_path: Path) -> None:
        left, top, side = MIDDLE
        corners = ((left - 4, top - 4), (left + side + 4, top - 4), (left + side + 4, top + side + 4))
        zone = Zone(points=(*corners, (left - 4, top + side + 4)), size=(WIDTH, HEIGHT), keep=True)
        staged = Staged(tmp_path, frames=4, left=range(4), policy=Policy(zones=(zone,)))
        staged.hidden = [Regions.empty()] * 4
        assert [finding.kind for finding in look(staged).findings] == [FindingKind.RESIDUAL]
        assert look(staged, zones=(0,)).findings == ()

    def test_every_frame_is_named_with_its_score(self, tmp_path: Path) -> None:
        (finding,) = look(Staged(tmp_path, frames=40, left=range(10, 35))).findings
        assert (finding.count, finding.first, finding.last) == (25, 10, 34)
        assert len(finding.looks) == 20
        assert finding.score is not None
        assert all(0.03 < look.score <= finding.score for look in finding.looks)

    # What is wrong with what was said about the film, and what verify makes of it.
    @pytest.mark.parametrize(
        ("other", "what"),
        [
            ({"frames": 31}, "another number of frames than the source's"),
            ({"width": 322}, "another size than the source's"),
            ({"rotation": 90}, "another rotation than the source's"),
            ({"times": "sha256:00"}, "other times than the source's"),
            ({"metadata": "sha256:00"}, "another metadata than the source's"),
            ({"kind": Kind.IMAGE}, "another kind than the source's"),
        ],
    )
    def test_what_ingest_announced_must_be_there(self, tmp_path: Path, other: dict[str, Any], what: str) -> None:
        verified = look(Staged(tmp_path), **other)
        assert [(one.kind, one.what) for one in verified.findings] == [(FindingKind.CONTENT, what)]
        assert judged(verified, DEFAULT.verification).verdict is Verdict.FAIL

    def test_a_frame_without_a_word_about_its_regions(self, tmp_path: Path) -> None:
        staged = Staged(tmp_path)
        del staged.hidden[-1]
        assert [one.kind for one in look(staged).findings] == [FindingKind.CONTENT]

    def test_an_archive_behind_the_film_fails(self, tmp_path: Path) -> None:
        staged = Staged(tmp_path)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("original.txt", "a name")
        staged.path.write_bytes(staged.path.read_bytes() + archive.getvalue())
        verified = look(staged)
        assert FindingKind.STRUCTURE in {one.kind for one in verified.findings}
        assert judged(verified, DEFAULT.verification).verdict is Verdict.FAIL

    @pytest.mark.parametrize("damage", [lambda film: film[: len(film) // 2], lambda film: b"\0" * 4 + film[4:]])
    def test_a_damaged_film_is_a_finding_and_no_fault(self, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
        staged = Staged(tmp_path)
        staged.path.write_bytes(damage(staged.path.read_bytes()))
        verified = look(staged)
        assert verified.findings
        assert judged(verified, DEFAULT.verification).verdict is Verdict.FAIL

    def test_sound_is_refused_unless_the_policy_keeps_it(self, tmp_path: Path) -> None:
        kept = Staged(tmp_path, policy=Policy(keep=(Keep.AUDIO,)))
        assert look(kept).findings == ()


@pytest.mark.usefixtures("colourful")
class TestWhatNobodyHadFound:
    def test_it_is_told_by_the_frames_of_the_second_look(self, tmp_path: Path) -> None:
        staged = Staged(tmp_path, frames=30, left=range(30))
        staged.hidden = [Regions.empty()] * 30
        verified = look(staged)
        (finding,) = verified.findings
        assert (finding.kind, finding.what, finding.count) == (FindingKind.RESIDUAL, "face", 3)
        assert [look.frame for look in finding.looks] == [0, 12, 24]
        assert (verified.searched, verified.side) == (3, 800)

    def test_each_detector_is_asked(self, tmp_path: Path) -> None:
        staged = Staged(tmp_path, frames=2, left=(0, 1))
        staged.hidden = [Regions.empty()] * 2
        assert [one.what for one in look(staged, [Path(), Path()]).findings] == ["face", "face"]
        assert look(staged, []).findings == ()

    def test_what_is_hidden_is_no_residual(self, tmp_path: Path) -> None:
        (finding,) = look(Staged(tmp_path, frames=2, left=(0, 1))).findings
        assert finding.kind is FindingKind.UNCOVERED

    def test_a_class_that_may_be_seen_is_none(self, tmp_path: Path) -> None:
        staged = Staged(tmp_path, frames=2, left=(0, 1), policy=Policy(detection=Detection(classes=("plate",))))
        staged.hidden = [Regions.empty()] * 2
        assert look(staged).findings == ()

    def test_a_film_that_breaks_off_keeps_what_was_seen_of_it(self, tmp_path: Path) -> None:
        staged = Staged(tmp_path, frames=30, left=range(30), suffix="mkv")
        staged.hidden = [Regions.empty()] * 30
        staged.path.write_bytes(staged.path.read_bytes()[:-2000])
        kinds = {one.kind for one in look(staged).findings}
        assert FindingKind.RESIDUAL in kinds or FindingKind.CONTENT in kinds


@pytest.mark.sealed
class TestSecondLook:
    """With the model that the image carries."""

    @pytest.fixture
    def models(self, sealed: None) -> Path:
        del sealed
        layers = admit(ImageStore.default(), "detect-centerface").layers
        (folder,) = (layer / "models" for layer in layers if (layer / "models" / "centerface").is_dir())
        return folder

    def seen(self, staged: Staged, models: Path) -> tuple[Finding, ...]:
        return look(staged, [models]).findings

    def test_a_face_that_nobody_had_found(self, tmp_path: Path, models: Path) -> None:
        staged = Staged(tmp_path, frames=30, left=range(30))
        staged.hidden = [Regions.empty()] * 30
        (finding,) = self.seen(staged, models)
        assert (finding.kind, finding.what) == (FindingKind.RESIDUAL, "face")
        assert [look.frame for look in finding.looks] == [0, 12, 24]
        assert finding.score is not None
        assert finding.score > DEFAULT.verification.score

    def test_a_hidden_face_is_not_found(self, tmp_path: Path, models: Path) -> None:
        for style in Style:
            staged = Staged(tmp_path, frames=2, policy=Policy(redaction=Redaction(style=style)))
            assert self.seen(staged, models) == ()
