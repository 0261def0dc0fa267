"""The probe: a component's attempts at its own walls, made before it holds any picture.

It needs a filter that answers with an errno; one that kills would end the component at the first attempt. It uses
the standard library only, starts no process, waits for no one and leaves nothing behind, no thread either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from veilbox.core.control import Canaries
from veilbox.core.isolation import Gate
from veilbox.seal import confinement, egress, privilege, surroundings
from veilbox.seal.deep import attempts
from veilbox.seal.kernel import has_own_kernel, own_kernel
from veilbox.seal.limits import limits_bite
from veilbox.seal.outcome import ALLOWED, errno_name


def probe(canaries: Canaries) -> tuple[Gate, ...]:
    """Try every gate that can be tried from inside, and the findings beside them.

    Namespace numbers and id ranges need the host's eye (`veilbox.seal.observe`); `attested` is not tried yet.
    Behind a kernel of its own some walls are that kernel's affair; what stands behind them is then looked at from
    outside (`veilbox.seal.observe_sandbox`).

    Args:
        canaries: What the host put out of this component's reach.

    Returns:
        One gate each, in the scale's order, then those of `core.isolation.DEEP`. A gate whose attempt could not be made
        is there and did not hold.
    """
    return tuple(_made({**_gates(canaries), **attempts()}))


_Attempts = Mapping[str, Callable[[], Gate]]


def _gates(canaries: Canaries) -> _Attempts:
    own = has_own_kernel(canaries)
    return {
        "own-processes-only": surroundings.own_processes_only,
        "root-read-only": surroundings.root_read_only,
        "host-files-absent": partial(surroundings.host_files_absent, canaries),
        "foreign-volumes-absent": partial(surroundings.foreign_volumes_absent, canaries, own_kernel=own),
        "devices-absent": partial(surroundings.devices_absent, own_kernel=own),
        "interfaces-absent": partial(egress.interfaces_absent, own_kernel=own),
        "routes-absent": egress.routes_absent,
        "loopback-canary": partial(egress.loopback_canary, canaries),
        "routable-address": egress.routable_address,
        "ipv6-address": egress.ipv6_address,
        "abstract-socket-canary": partial(egress.abstract_socket_canary, canaries),
        "dns": egress.dns,
        "socket-families": egress.socket_families,
        "capabilities-empty": privilege.capabilities_empty,
        "no-new-privileges": privilege.no_new_privileges,
        "uid-not-root": privilege.uid_not_root,
        "root-maps-to-nobody": partial(privilege.root_maps_to_nobody, own_kernel=own),
        "setuid-files-absent": privilege.setuid_files_absent,
        "writable-not-executable": partial(privilege.writable_not_executable, own_kernel=own),
        "read-only-descriptors": privilege.read_only_descriptors,
        "seccomp-active": confinement.seccomp_active,
        "forbidden-calls-refused": confinement.forbidden_calls_refused,
        "allowed-calls-few": confinement.allowed_calls_few,
        "limits-bite": partial(limits_bite, own_kernel=own),
        "own-kernel": partial(own_kernel, canaries),
    }


def _made(attempts: _Attempts) -> Iterator[Gate]:
    for name, attempt in attempts.items():
        try:
            yield attempt()
        except (OSError, ValueError, KeyError) as error:
            # Unknown counts as failed: the attempt's own means were missing.
            yield Gate(name=name, tried="could not be tried", found=_reason(error), held=False)


def _reason(error: Exception) -> str:
    return f"unknown: {errno_name(error.errno) if isinstance(error, OSError) else type(error).__name__}"


def reopens_for_writing(descriptor: int) -> bool:
    """Whether a read-only descriptor that was handed over later can be opened for writing through /proc.

    The probe runs before a component holds its source; ingest asks this for each one.
    """
    return privilege.reopening(descriptor) == ALLOWED
