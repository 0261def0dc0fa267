"""The hostile component: speaks the protocol as far as it must, then tries everything and tells what happened.

It takes the place of `veilbox.components.entry`, so it runs behind the walls that the honest one lays on itself, or of
`veilbox.components.__main__`, so it runs behind the container's walls alone.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from hostile.attempt import Attempt, Ground
from hostile.files import ATTEMPTS as FILES
from hostile.held_item import ATTEMPTS as HELD
from hostile.kernel_calls import ATTEMPTS as CALLS
from hostile.networks import ATTEMPTS as NETWORKS
from hostile.shared_files import ATTEMPTS as SHARED

from veilbox.core.control import Configure, FromComponent, Hello, Probed, ToComponent
from veilbox.core.isolation import Gate
from veilbox.transport.control import ComponentControl

_PATIENCE_S = 20.0
EVERY = (*CALLS, *NETWORKS, *FILES, *SHARED)


def main(argv: Sequence[str], *, first_ns: int) -> int:
    """Be a component until the supervisor goes."""
    wire = socket.socket(fileno=0)
    wire.settimeout(None)
    control = ComponentControl(wire)
    control.send(Hello(component=argv[0], first_ns=first_ns, imported_ns=time.monotonic_ns()))
    settings, edges = _next(control)
    assert isinstance(settings, Configure)
    ground = Ground(
        canary=settings.canaries.path,
        tcp_port=settings.canaries.tcp_port,
        abstract=settings.canaries.abstract_socket,
        own=tuple(end.ring for end in settings.ends if end.ring),
        foreign=settings.canaries.volumes,
        edges=tuple(edges),
    )
    _fill_rings(settings)
    _report(control, EVERY, ground)
    while True:
        _, held = _next(control)
        for number in held[:1]:
            _report(control, HELD, Ground(item=number))


def _fill_rings(settings: Configure) -> None:
    """Make a ring's file as a producer does, and wait for those of others, so that there is something to attack."""
    rings = [(f"{end.ring}/{end.edge}", end.producer) for end in settings.ends if end.ring]
    for path in (path for path, mine in rings if mine):
        with suppress(FileExistsError), open(path, "xb") as file:
            file.write(bytes(8192))
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and not all(os.path.exists(path) for path, _ in rings):
        time.sleep(0.01)


def _next(control: ComponentControl) -> tuple[ToComponent, list[int]]:
    while True:
        received = control.receive()
        if received is not None:
            return received
        time.sleep(0.01)


def _report(control: ComponentControl, attempts: Iterable[Attempt], ground: Ground) -> None:
    gates = [_gate(attempt, ground) for attempt in attempts]
    message: FromComponent = Probed(gates=tuple(gate for gate in gates if gate is not None))
    control.send(message)


def _gate(attempt: Attempt, ground: Ground) -> Gate | None:
    """An attempt's answers as one gate; None where there was nothing to try it on."""
    try:
        answers = {*attempt.run(ground)}
    except OSError as error:
        answers = {f"stopped: {os.strerror(error.errno or 0)}"}
    if not answers:
        return None
    found = ", ".join(sorted(answers))
    return Gate(name=attempt.id, tried=attempt.what, found=found, held=answers <= attempt.refused)
