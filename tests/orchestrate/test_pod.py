"""Whatever a component does, the pod ends it or the pod ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from stage import GATES_HELD, TICK_S, Clock, Played, Stage, clock, look, pod_on

from veilbox.core.control import Faulted, Finish, Finished, FromComponent, Heartbeat, Hello, ItemDone, Probed, Ready
from veilbox.core.errors import (
    ComponentDied,
    ComponentHung,
    Failure,
    Interrupted,
    IsolationError,
    MachineError,
    ProtocolError,
    VeilboxError,
)
from veilbox.core.isolation import Gate
from veilbox.core.policy import Policy
from veilbox.orchestrate.launcher import Cost
from veilbox.orchestrate.pod import Pod

__all__ = ["clock"]

WHO = "detect-centerface"
READY = Ready(ready_ns=1)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    assert stage.stopped == 1
    assert not stage.played


@pytest.fixture
def pod(stage: Stage, clock: Clock) -> Iterator[Pod]:
    """A pod that is ready."""
    del clock
    with pod_on(stage) as pod:
        stage.enter()
        pod.await_ready()
        yield pod


def drain(pod: Pod, stage: Stage, *but: str) -> None:
    for _ in look(pod, stage, *but):
        pass


def says(*messages: FromComponent) -> Callable[[Stage], None]:
    return lambda stage: stage[WHO].say(*messages)


def sends(packet: bytes) -> Callable[[Stage], None]:
    def send(stage: Stage) -> None:
        stage[WHO].raw.sendall(packet)

    return send


def fault(kind: str) -> Faulted:
    return Faulted(failure=Failure(kind=kind, what="it broke"))


# What a component does at work -> the error, and what its message says; its name is always there.
AT_WORK: list[tuple[str, Callable[[Stage], None], type[VeilboxError], str | None]] = [
    ("a fault", says(fault("MachineError")), MachineError, "it broke"),
    ("a fault of a kind of its own", says(fault("SystemExit")), VeilboxError, "it broke"),
    ("killed", lambda stage: stage[WHO].die(137), ComponentDied, "signal 9"),
    ("exit 0 too early", lambda stage: stage[WHO].die(0), ComponentDied, "exit status 0"),
    ("the socket closed", lambda stage: stage[WHO].control.close(), ComponentDied, "control socket closed"),
    ("no JSON", sends(b"\xff\xfe"), ProtocolError, None),
    ("an empty object", sends(b"{}"), ProtocolError, "not a control message"),
    ("a message for components", sends(b'{"type":"Finish","body":{}}'), ProtocolError, "type"),
    ("a packet that is too long", sends(b"x" * (150 << 10)), ProtocolError, None),
    ("deep JSON", sends(b'{"type":' + b"[" * 50_000), ProtocolError, None),
    ("a second introduction", says(Hello(component=WHO, first_ns=1, imported_ns=1)), ProtocolError, "Hello"),
    ("walls measured again", says(Probed(gates=GATES_HELD)), ProtocolError, "Probed"),
    ("ready again", says(READY), ProtocolError, "Ready"),
]


@pytest.mark.parametrize(("does", "error", "text"), [row[1:] for row in AT_WORK], ids=[row[0] for row in AT_WORK])
def test_what_ends_the_job(
    pod: Pod, stage: Stage, does: Callable[[Stage], None], error: type[VeilboxError], text: str | None
) -> None:
    does(stage)
    with pytest.raises(error, match=text) as raised:
        drain(pod, stage, WHO)
    assert str(raised.value).startswith(f"{WHO}: ")


def test_another_name_is_refused(stage: Stage, clock: Clock) -> None:
    del clock
    with pod_on(stage) as pod:
        stage[WHO].say(Hello(component="audit", first_ns=1, imported_ns=1))
        with pytest.raises(ProtocolError, match=f"{WHO}: introduces itself"):
            pod.await_ready()


def test_findings_beside_the_gates_are_taken(stage: Stage, clock: Clock) -> None:
    del clock
    beside = Gate(name="kernel-identity", tried="ask", found="Linux", held=True)
    with pod_on(stage) as pod:
        stage[WHO].say(Probed(gates=(beside,)))
        assert list(pod.poll()) == []
        assert pod.members[WHO].gates == (beside,)


def test_work_before_it_was_asked_for_is_refused(stage: Stage, clock: Clock) -> None:
    del clock
    with pod_on(stage) as pod:
        stage[WHO].say(ItemDone(item=0, frames=1))
        with pytest.raises(ProtocolError, match=f"{WHO}: work before"):
            pod.await_ready()


def test_out_of_memory_is_told_as_that(pod: Pod, stage: Stage) -> None:
    stage.played[WHO].spent = Cost(out_of_memory=1)
    stage[WHO].die(137)
    with pytest.raises(ComponentDied, match=rf"{WHO}: out of memory \(expected at most 1536 MiB\)"):
        drain(pod, stage)


def test_last_words_are_shown_only_before_footage(pod: Pod, stage: Stage) -> None:
    stage.played[WHO].printed = "secret of the footage"
    stage[WHO].die(1)
    with pytest.raises(ComponentDied) as raised:
        drain(pod, stage)
    assert "secret" not in str(raised.value)


def test_last_words_of_a_start_are_shown(stage: Stage, clock: Clock) -> None:
    del clock
    with pod_on(stage) as pod:
        stage.played[WHO].printed = "ImportError: numpy"
        stage[WHO].die(1)
        with pytest.raises(ComponentDied, match=f"{WHO}: .*exit status 1: ImportError: numpy"):
            pod.await_ready()


def test_silence_is_a_hang(pod: Pod, stage: Stage) -> None:
    with pytest.raises(ComponentHung, match=rf"{WHO}: no sign of life \(expected one within 2 s\)"):
        drain(pod, stage, WHO)


def test_a_start_has_longer_than_a_short_deadline(stage: Stage, clock: Clock) -> None:
    with pod_on(stage) as pod:
        clock.leap(9)
        stage.enter()
        pod.await_ready()


def test_a_start_has_an_end(stage: Stage, clock: Clock) -> None:
    del clock
    with pod_on(stage) as pod, pytest.raises(ComponentHung, match=r"no sign of life \(expected one within 10 s\)"):
        pod.await_ready()


def test_life_without_progress_is_a_hang(pod: Pod, stage: Stage) -> None:
    with pytest.raises(ComponentHung, match="pod: no component made progress"):
        drain(pod, stage)


def _talk(pod: Pod, stage: Stage, *, looks: int) -> None:
    for _ in range(looks):
        stage.beat("ingest")
        stage["ingest"].say(*[Heartbeat(item=0, frames=0)] * 50)
        assert list(pod.poll()) == []


def test_a_flood_of_words_does_not_stop_the_clock(pod: Pod, stage: Stage) -> None:
    # If only waiting counted, a tick a look, there would have to be fifty times as many.
    with pytest.raises(ComponentHung, match="pod: no component made progress"):
        _talk(pod, stage, looks=round(2 / TICK_S / 50))


def test_progress_keeps_a_job_alive(pod: Pod, stage: Stage, clock: Clock) -> None:
    for frames in range(50):
        clock.leap(0.5)
        stage.beat("export")
        stage["export"].say(Heartbeat(item=0, frames=frames))
        assert list(pod.poll()) == []


def test_time_that_the_supervisor_took_is_no_hang(pod: Pod, stage: Stage, clock: Clock) -> None:
    """It digests an output, or was stopped; meanwhile components said that they live."""
    stage.beat()
    clock.leap(3600)
    assert list(pod.poll()) == []


def test_time_spent_on_a_message_is_no_hang(pod: Pod, stage: Stage, clock: Clock) -> None:
    stage.beat("export")
    stage["export"].say(ItemDone(item=0, frames=1))
    for _, message in pod.poll():
        assert isinstance(message, ItemDone)
        clock.leap(3600)
        stage.beat()
    assert list(pod.poll()) == []


def test_a_component_that_never_stops_talking_hides_nobody(
    pod: Pod, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage["ingest"].say(Heartbeat(item=0, frames=0))
    monkeypatch.setattr(stage.played["ingest"].control, "receive", lambda: (Heartbeat(item=0, frames=0), []))
    stage[WHO].die(137)
    with pytest.raises(ComponentDied, match=WHO):
        list(pod.poll())


def test_a_neighbours_complaint_waits_for_the_culprit(pod: Pod, stage: Stage) -> None:
    stage["anonymize"].say(fault("ComponentDied"))
    stage.beat(WHO)
    assert list(pod.poll()) == []
    stage[WHO].die(137)
    with pytest.raises(ComponentDied, match=f"{WHO}: .*signal 9"):
        drain(pod, stage)


def test_a_complaint_without_a_culprit_is_told(pod: Pod, stage: Stage) -> None:
    stage["anonymize"].say(fault("ComponentDied"))
    with pytest.raises(ComponentDied, match="anonymize: it broke"):
        drain(pod, stage)


def _flood(pod: Pod) -> None:
    for _ in range(100_000):
        pod.send(WHO, Finish())


def test_a_component_that_reads_nothing_is_a_hang(pod: Pod) -> None:
    with pytest.raises(ComponentHung, match=f"{WHO}: does not read"):
        _flood(pod)


def test_walls_below_the_minimum_end_the_job(stage: Stage, clock: Clock) -> None:
    del clock
    with pod_on(stage, Policy(minimum_isolation=4)) as pod:
        stage.enter()
        with pytest.raises(IsolationError, match="ingest: gate seccomp-active did not hold"):
            pod.await_ready()


class TestTheEnd:
    """Every item is settled: a component that is lost takes no result with it."""

    def test_all_finish(self, pod: Pod, stage: Stage) -> None:
        stage.played[WHO].spent = Cost(cpu_s=1.5)
        for actor in stage.actors.values():
            actor.say(Finished())
        pod.finish()
        assert pod.members[WHO].cost.cpu_s == 1.5
        assert [message for message, _ in stage[WHO].hear()] == [Finish()]

    @pytest.mark.parametrize("does", [lambda stage: stage[WHO].die(137), lambda _: None, says(fault("ComponentDied"))])
    def test_one_is_lost(self, pod: Pod, stage: Stage, does: Callable[[Stage], None]) -> None:
        for name, actor in stage.actors.items():
            if name != WHO:
                actor.say(Finished())
        does(stage)
        pod.finish()
        assert [name for name, member in pod.members.items() if not member.finished] == [WHO]

    def test_a_fault_is_still_told(self, pod: Pod, stage: Stage) -> None:
        stage[WHO].say(fault("ProtocolError"))
        with pytest.raises(ProtocolError, match=WHO):
            pod.finish()


@pytest.mark.parametrize("threads", [False, True])
def test_who_is_dismissed_ends_when_all_have_said_so(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, threads: bool
) -> None:
    """Also where components are threads, which have no process to look at."""
    del clock
    if threads:
        monkeypatch.setattr(Played, "fileno", lambda _: -1)
    leaving = ("ingest", WHO)
    with pod_on(stage) as pod:
        stage.enter()
        pod.await_ready()
        pod.dismiss(leaving)
        stage["ingest"].say(Finished())
        list(pod.poll())
        assert not any(stage.played[name].ended for name in leaving)
        stage[WHO].say(Finished())
        list(pod.poll())
        assert all(stage.played[name].ended for name in leaving)
        stage["ingest"].die(137)
        stage[WHO].control.close()
        list(look(pod, stage, *leaving, times=10))


class TestSignals:
    def test_a_start_is_not_cut_in_half(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        launch = stage.launch
        started: list[str] = []

        def interrupted_launch(plan: object) -> object:
            os.kill(os.getpid(), signal.SIGTERM)
            launched = launch(plan)  # type: ignore[arg-type]
            started.extend(launched)
            return launched

        def answer(number: int, _: object) -> None:
            raise Interrupted(f"signal {number}")

        monkeypatch.setattr(stage, "launch", interrupted_launch)
        before = signal.signal(signal.SIGTERM, answer)
        try:
            with pytest.raises(Interrupted), pod_on(stage):
                pytest.fail("the signal was forgotten")
        finally:
            signal.signal(signal.SIGTERM, before)
        assert len(started) == 7


def test_a_gate_that_only_the_host_can_see_is_refused(stage: Stage, clock: Clock) -> None:
    del clock
    claimed = Gate(name="attested", tried="", found="", held=True)
    with pod_on(stage) as pod:
        stage[WHO].say(Hello(component=WHO, first_ns=1, imported_ns=2), Probed(gates=(claimed,)))
        with pytest.raises(ProtocolError, match="attested"):
            pod.await_ready()
