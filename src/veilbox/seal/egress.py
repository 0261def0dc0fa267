"""Gates of level 2: ways out to a network or to a process of the host. Nothing here ever waits for an answer."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping

from veilbox.core.control import Canaries
from veilbox.core.isolation import Gate
from veilbox.seal.outcome import ALLOWED, errno_name, outcome

# Answers that mean: no packet left and nobody was asked.
NO_WAY_OUT = frozenset({"EPERM", "EACCES", "ENOSYS", "ENETUNREACH", "ENETDOWN", "EADDRNOTAVAIL", "EAFNOSUPPORT"})
_NO_SUCH_FAMILY = frozenset({"EPERM", "EACCES", "ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"})

# RFC 5737 and RFC 3849 keep these for documentation; 169.254.169.254 is where clouds answer with credentials.
_ROUTABLE = (("192.0.2.1", 443), ("169.254.169.254", 80))
_RESOLVER = "192.0.2.53"
_IPV6 = (("2001:db8::1", 443), ("::1", 53))
_RESOLVER_SOCKETS = ("/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve", "/run/dbus/system_bus_socket")

# family: (number, type). Source: include/linux/socket.h of Linux 6.1; Python lacks names for some of them.
_FAMILIES: Mapping[str, tuple[int, int]] = {
    "INET": (2, socket.SOCK_DGRAM),
    "INET6": (10, socket.SOCK_DGRAM),
    "NETLINK": (16, socket.SOCK_RAW),
    "PACKET": (17, socket.SOCK_RAW),
    "RDS": (21, socket.SOCK_SEQPACKET),
    "CAN": (29, socket.SOCK_RAW),
    "TIPC": (30, socket.SOCK_SEQPACKET),
    "BLUETOOTH": (31, socket.SOCK_SEQPACKET),
    "ALG": (38, socket.SOCK_SEQPACKET),
    "VSOCK": (40, socket.SOCK_STREAM),
    "XDP": (44, socket.SOCK_RAW),
}


def interfaces_absent(*, own_kernel: bool = False) -> Gate:
    """There is no interface but the loopback, and that one is down: it has no address.

    Args:
        own_kernel: Whether another kernel than the host's answers. Its loopback ends in itself, where nobody else is.
    """
    names = [line.partition(":")[0].strip() for line in _read("/proc/net/dev").splitlines()[2:]]
    addresses = len(_read("/proc/net/if_inet6", absent="").split("\n")) - 1
    # The trie lists 127.0.0.1 as soon as the loopback comes up.
    trie = _read("/proc/net/fib_trie", absent="")
    up = addresses > 0 or "host LOCAL" in trie
    return Gate(
        name="interfaces-absent",
        tried="list the interfaces and their addresses",
        found=f"{' '.join(sorted(names)) or 'none'}, {'with an address' if up else 'down'}",
        held=set(names) <= {"lo"} and (own_kernel or not up),
    )


def routes_absent() -> Gate:
    """No route leads anywhere but to the loopback."""
    ipv4 = _read("/proc/net/route", absent="").splitlines()[1:]
    ipv6 = [line for line in _read("/proc/net/ipv6_route", absent="").splitlines() if line.split()[-1] != "lo"]
    return Gate(
        name="routes-absent",
        tried="list the IPv4 and IPv6 routes",
        found=f"{len(ipv4)} IPv4, {len(ipv6)} IPv6",
        held=not ipv4 and not ipv6,
    )


def _read(path: str, absent: str | None = None) -> str:
    """A file of /proc; `absent` where the kernel was built without it."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        if absent is None:
            raise
        return absent


def loopback_canary(canaries: Canaries) -> Gate:
    """The host's listening TCP port is not at the end of this loopback; a refusal by our own loopback holds."""
    answer = connecting(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", canaries.tcp_port))
    return Gate(
        name="loopback-canary",
        tried="connect to the host's canary on 127.0.0.1",
        found=answer,
        held=answer in NO_WAY_OUT | {"ECONNREFUSED"},
    )


def routable_address() -> Gate:
    """No packet can be sent to an address beyond the machine or to a cloud's metadata service."""
    answers = [connecting(socket.AF_INET, socket.SOCK_STREAM, address) for address in _ROUTABLE]
    return _no_way_out("routable-address", "connect to 192.0.2.1 and 169.254.169.254", answers)


def ipv6_address() -> Gate:
    """The same for IPv6, its loopback included."""
    answers = [connecting(socket.AF_INET6, socket.SOCK_STREAM, address) for address in _IPV6]
    return _no_way_out("ipv6-address", "connect to 2001:db8::1 and ::1", answers)


def dns() -> Gate:
    """Neither a name server nor a resolver's socket of the host can be asked."""
    servers = (_RESOLVER, *_nameservers())
    answers = [connecting(socket.AF_INET, socket.SOCK_DGRAM, (server, 53)) for server in servers]
    # A socket file that is not there answers ENOENT; one without a listener is no way out either.
    answers += [connecting(socket.AF_UNIX, socket.SOCK_STREAM, path) for path in _RESOLVER_SOCKETS]
    return _no_way_out(
        "dns",
        f"ask {len(servers)} name servers and {len(_RESOLVER_SOCKETS)} resolver sockets",
        answers,
        NO_WAY_OUT | {"ENOENT", "ECONNREFUSED"},
    )


def _nameservers() -> list[str]:
    """IPv4 name servers of the image's /etc/resolv.conf, at most three as the resolver has it."""
    words = [line.split() for line in _read_or_nothing("/etc/resolv.conf").splitlines()]
    return [word[1] for word in words if len(word) == 2 and word[0] == "nameserver" and ":" not in word[1]][:3]


def _read_or_nothing(path: str) -> str:
    try:
        return _read(path)
    except OSError:
        return ""


def _no_way_out(name: str, tried: str, answers: list[str], harmless: frozenset[str] = NO_WAY_OUT) -> Gate:
    return Gate(name=name, tried=tried, found=", ".join(sorted(set(answers))), held=set(answers) <= harmless)


def connecting(family: int, kind: int, address: tuple[str, int] | str) -> str:
    """The outcome of a connection attempt that gives up at once."""
    try:
        with socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as attempt:
            number = attempt.connect_ex(address)
            if number == errno.EINPROGRESS:
                # Loopback answers before the call returns; whatever is still open by now has left this process.
                number = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or _open_or_connected(attempt)
    except OSError as error:
        number = error.errno or errno.EIO
    return errno_name(number) if number else ALLOWED


def _open_or_connected(attempt: socket.socket) -> int:
    try:
        attempt.getpeername()
    except OSError:
        return errno.EINPROGRESS
    return 0


def abstract_socket_canary(canaries: Canaries) -> Gate:
    """The host's abstract Unix socket has no name in this network namespace."""
    answer = connecting(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{canaries.abstract_socket}")
    return Gate(
        name="abstract-socket-canary",
        tried="connect to the host's abstract Unix socket",
        found=answer,
        held=answer in NO_WAY_OUT | {"ECONNREFUSED"},
    )


def socket_families() -> Gate:
    """No socket of any family but Unix can be made."""
    answers = {name: _making(number, kind) for name, (number, kind) in _FAMILIES.items()}
    made = [name for name, answer in answers.items() if answer not in _NO_SUCH_FAMILY]
    return Gate(
        name="socket-families",
        tried=f"make a socket of {', '.join(_FAMILIES)}",
        found=f"{', '.join(sorted(set(answers.values())))}" + (f", made: {' '.join(made)}" if made else ""),
        held=not made,
    )


def _making(family: int, kind: int) -> str:
    return outcome(lambda: os.close(socket.socket(family, kind | socket.SOCK_CLOEXEC).detach()))
