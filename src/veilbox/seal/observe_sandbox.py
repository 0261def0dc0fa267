"""The host's eye on a component with a kernel of its own: what is seen is the sandbox that keeps that kernel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from veilbox.core.isolation import Gate
from veilbox.seal.observe import CAPABILITY_SETS, observe, status_of
from veilbox.seal.outcome import errno_name

_PROC = Path("/proc")
_FILTERED = "2"  # linux/seccomp.h SECCOMP_MODE_FILTER

# What a component's own process would show and a sandbox does not.
_OF_PROCESSES = frozenset({"pid-namespace", "capabilities-empty", "seccomp-active"})


def observe_sandbox(pid: int, *, program: Path, peers: Mapping[str, int], proc: Path = _PROC) -> tuple[Gate, ...]:
    """Look at a sandbox from the host.

    Args:
        pid: The sandbox's process; the component's are not processes of the host.
        program: The runtime's program, which the sandbox runs.
        peers: The other sandboxes by component.
        proc: Where proc is mounted.

    Returns:
        As `veilbox.seal.observe.observe`, and `own-kernel`. Namespaces, ids, no-new-privileges and the filter are the
        sandbox's: the second wall, behind the component's kernel. Its capabilities reach a user namespace that must
        be nobody else's. The gates of a component's own process hold if the process that the host sees is the sandbox.
    """
    gates = [gate for gate in observe(pid, peers=peers, proc=proc) if gate.name not in _OF_PROCESSES]
    keeper = _keeper(proc, pid, program)
    process = Gate(
        name="pid-namespace",
        tried="look which program the host sees",
        found=f"{keeper.found}: the component's processes are its own kernel's",
        held=keeper.held,
    )
    return (process, *gates, _capabilities(proc, pid, peers), _filter(proc, pid), keeper)


def _keeper(proc: Path, pid: int, program: Path) -> Gate:
    try:
        runs = (proc / str(pid) / "exe").samefile(program)
        found = "the sandbox" if runs else "another program than the sandbox"
    except OSError as error:
        runs, found = False, f"unknown: {errno_name(error.errno)}"
    return Gate(name="own-kernel", tried="look which program the host sees", found=found, held=runs)


def _capabilities(proc: Path, pid: int, peers: Mapping[str, int]) -> Gate:
    try:
        status = status_of(proc, pid)
        full = [f"{name} {status[name]}" for name in CAPABILITY_SETS if int(status[name], 16)]
        own = _user_namespace(proc, str(pid))
        others = {_user_namespace(proc, str(one)) for one in ("self", *peers.values())}
        found, held = ", ".join(full) or "all empty", not full or own not in others
        found += " over a user namespace of its own" if full and held else ""
    except (OSError, KeyError, ValueError) as error:
        found, held = f"unknown: {type(error).__name__}", False
    return Gate(name="capabilities-empty", tried="read the sandbox's sets from the host", found=found, held=held)


def _filter(proc: Path, pid: int) -> Gate:
    try:
        mode = status_of(proc, pid)["Seccomp"]
    except (OSError, KeyError) as error:
        mode = f"unknown: {type(error).__name__}"
    tried = "read the sandbox's mode from the host"
    return Gate(name="seccomp-active", tried=tried, found=f"mode {mode}", held=mode == _FILTERED)


def _user_namespace(proc: Path, pid: str) -> str:
    return str((proc / pid / "ns" / "user").readlink())
