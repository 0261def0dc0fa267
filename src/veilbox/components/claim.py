"""claim: C2PA's claim generator. It sees a finished output, never a source, and holds no key.

Output (read-only) + what the job is on record for -> the output with a manifest. The signature in it comes from the
supervisor, which holds the key and sees no pixels.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from veilbox.c2pa.library import validation_state, write_manifest
from veilbox.c2pa.manifest import definition
from veilbox.c2pa.signing import put_signature, to_be_signed
from veilbox.components.session import BEAT_S, Session
from veilbox.core.claim import media_type
from veilbox.core.control import Claimed, ItemFailed, OpenClaim, Ready, Signature, ToSign
from veilbox.core.errors import Failure, OutputError, ProtocolError, UsageError

# A certificate of one's own is on no list of trust; what is on one is trusted.
_GOOD = ("Valid", "Trusted")

Result = TypeVar("Result")


def run(session: Session) -> None:
    """Give every output that the supervisor opens its manifest."""
    session.configure()
    session.send(Ready(ready_ns=time.monotonic_ns()))
    for message, fds in session.messages():
        if not isinstance(message, OpenClaim):
            raise ProtocolError("claim takes finished outputs only", actual=type(message).__name__)
        session.item = message.item
        session.send(_answer(session, message, fds))


def _answer(session: Session, message: OpenClaim, fds: Sequence[int]) -> Claimed | ItemFailed:
    """Work on an output; when it is told of, nothing of it is open here any more."""
    try:
        _claim(session, message, fds)
    except OutputError as error:
        return ItemFailed(item=message.item, failure=Failure.of(error))
    finally:
        for fd in fds:
            os.close(fd)
    return Claimed(item=message.item)


def _claim(session: Session, message: OpenClaim, fds: Sequence[int]) -> None:
    source, target = fds
    kind = media_type(message.suffix)
    write = partial(
        write_manifest,
        source,
        target,
        media_type=kind,
        definition=definition(message.claim, kind),
        algorithm=message.algorithm,
        chain=message.chain,
        signature_bytes=message.signature_bytes,
    )
    store = _meanwhile(session, write)
    put_signature(target, store, _signature(session, message, to_be_signed(store)))
    state = _meanwhile(session, partial(validation_state, target, kind))
    if state not in _GOOD:
        raise UsageError(
            "the C2PA manifest does not hold",
            where="--c2pa",
            expected=" or ".join(_GOOD),
            actual=state,
            advice="See docs/how-to/content-credentials.md",
        )


def _signature(session: Session, message: OpenClaim, data: bytes) -> bytes:
    session.send(ToSign(item=message.item, data=data))
    answer, _ = session.next_message()
    if not isinstance(answer, Signature) or answer.item != message.item:
        raise ProtocolError("not the signature that was asked for", actual=type(answer).__name__)
    return answer.signature


def _meanwhile(session: Session, call: Callable[[], Result]) -> Result:
    """Call the library, and say that this component lives: a long film takes longer than it may be silent."""
    results: list[Result] = []
    faults: list[Exception] = []

    def called() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
            faults.append(error)

    thread = threading.Thread(target=called, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(BEAT_S)
        session.beat()
    if faults:
        raise faults[0]
    return results[0]
