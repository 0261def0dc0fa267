"""The host's eye: what only somebody outside can say about a component's walls."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from veilbox.core.isolation import Gate
from veilbox.seal.confinement import filters_gate
from veilbox.seal.outcome import errno_name

_PROC = Path("/proc")
# The gate's word and the kernel's.
_NAMESPACES = {"pid": "pid", "mount": "mnt", "network": "net", "ipc": "ipc", "uts": "uts"}
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_INIT = 1


def observe(pid: int, *, peers: Mapping[str, int], proc: Path = _PROC) -> tuple[Gate, ...]:
    """Look at a component from the host.

    A namespace counts as its own if it is neither this process's nor that of any peer nor the host's. The supervisor
    has left the host's mount namespace itself, hence the host's first process and the supervisor's parent are
    looked at; without the right to either the gate says so and compares with the rest. What a component's status says
    to the host is reported beside what the component found itself: a gate reported twice holds only if both hold.

    Args:
        pid: The component's process in the caller's pid namespace. It must run the component's program already (after
            its Hello): before, it is still the runtime with the runtime's rights.
        peers: Process of each other component by name.
        proc: Where proc is mounted.

    Returns:
        `pid-namespace`, `mount-namespace`, `network-namespace`, `ipc-namespace`, `uts-namespace`,
        `uid-range-own`, `capabilities-empty`, `no-new-privileges`, `uid-not-root`, `seccomp-active`.
    """
    gates = [_namespace(proc, gate, kind, pid, peers) for gate, kind in _NAMESPACES.items()]
    gates.append(_known("uid-range-own", lambda: _uid_range(proc, pid, peers)))
    gates += [_known(name, partial(_judged, proc, pid, judge)) for name, judge in _STATUS.items()]
    return tuple(gates)


def _known(name: str, look: Callable[[], Gate]) -> Gate:
    """What a look finds; unknown counts as failed."""
    try:
        return look()
    except (OSError, ValueError, KeyError) as error:
        reason = errno_name(error.errno) if isinstance(error, OSError) else type(error).__name__
        return Gate(name=name, tried="look from the host", found=f"unknown: {reason}", held=False)


def _namespace(proc: Path, gate: str, kind: str, pid: int, peers: Mapping[str, int]) -> Gate:
    return _known(f"{gate}-namespace", lambda: _compared(proc, gate, kind, pid, peers))


def _compared(proc: Path, gate: str, kind: str, pid: int, peers: Mapping[str, int]) -> Gate:
    own = _number(proc, pid, kind)
    others = {"the supervisor": _number(proc, os.getpid(), kind)}
    others |= {name: _number(proc, peer, kind) for name, peer in peers.items()}
    host, unseen = _of_the_host(proc, kind)
    others |= host
    shared = [name for name, number in others.items() if number == own]
    return Gate(
        name=f"{gate}-namespace",
        tried=f"compare namespace numbers with {len(others)} others",
        found=f"{own}{unseen}" + (f", shared with {', '.join(shared)}" if shared else ""),
        held=not shared,
    )


def _of_the_host(proc: Path, kind: str) -> tuple[dict[str, int], str]:
    """The numbers of the host's first process and of whoever started the supervisor, and a word if none may be seen.

    Without root neither may, and some machines hide their first process from root too.
    """
    seen, reasons = {}, set()
    for name, pid in (("the host", _INIT), ("the supervisor's parent", os.getppid())):
        try:
            seen[name] = _number(proc, pid, kind)
        except OSError as error:
            reasons.add(errno_name(error.errno))
    return seen, "" if seen else f", the host's unknown ({', '.join(sorted(reasons))})"


def _number(proc: Path, pid: int, kind: str) -> int:
    """The inode number of a process's namespace: the link reads `net:[4026531840]`. Source: namespaces(7)."""
    link = (proc / str(pid) / "ns" / kind).readlink().name
    return int(link.partition("[")[2].removesuffix("]"))


def _uid_range(proc: Path, pid: int, peers: Mapping[str, int]) -> Gate:
    own = _ranges(proc, pid)
    sharing = [name for name, peer in peers.items() if _overlap(own, _ranges(proc, peer))]
    roots = any(outside <= 0 < outside + count for outside, count in own)
    return Gate(
        name="uid-range-own",
        tried=f"compare the ids on the host with those of {len(peers)} components",
        found=", ".join(f"{outside}+{count}" for outside, count in own)
        + (", holds the host's 0" if roots else "")
        + (f", shared with {', '.join(sharing)}" if sharing else ""),
        held=bool(own) and not roots and not sharing,
    )


def _ranges(proc: Path, pid: int) -> tuple[tuple[int, int], ...]:
    """(first id outside, how many); outside is as the caller's user namespace sees it. Source: user_namespaces(7)."""
    text = (proc / str(pid) / "uid_map").read_text(encoding="ascii")
    return tuple((int(outside), int(count)) for _, outside, count in (line.split() for line in text.splitlines()))


def _overlap(some: tuple[tuple[int, int], ...], others: tuple[tuple[int, int], ...]) -> bool:
    return any(a < b + n and b < a + m for a, m in some for b, n in others)


def status_of(proc: Path, pid: int) -> dict[str, str]:
    """What the kernel says of a process in its `status`, by the names there."""
    text = (proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _judged(proc: Path, pid: int, judge: Callable[[Mapping[str, str]], Gate]) -> Gate:
    return judge(status_of(proc, pid))


def _capabilities(status: Mapping[str, str]) -> Gate:
    full = [f"{name} {status[name]}" for name in CAPABILITY_SETS if int(status[name], 16)]
    found = ", ".join(full) or "all empty"
    return Gate(name="capabilities-empty", tried="read the sets from the host", found=found, held=not full)


def _no_new_privileges(status: Mapping[str, str]) -> Gate:
    flag = status["NoNewPrivs"]
    return Gate(name="no-new-privileges", tried="read the flag from the host", found=flag, held=flag == "1")


def _uid(status: Mapping[str, str]) -> Gate:
    ids = status["Uid"].split()
    return Gate(name="uid-not-root", tried="read the ids from the host", found=f"uid {ids[0]}", held="0" not in ids)


def _seccomp(status: Mapping[str, str]) -> Gate:
    return filters_gate(status["Seccomp"], status.get("Seccomp_filters", ""), "read the mode from the host")


_STATUS: Mapping[str, Callable[[Mapping[str, str]], Gate]] = {
    "capabilities-empty": _capabilities,
    "no-new-privileges": _no_new_privileges,
    "uid-not-root": _uid,
    "seccomp-active": _seccomp,
}
