"""Ways to talk to anybody but the peers of the plan."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from hostile.attempt import ABSENT, REFUSED, Attempt, Ground, word

# AF_MAX is 46 in Linux 6.1; a family without a name is tried by its number.
_FAMILIES = range(1, 46)
_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
# What a socket of ours may answer that is connected already and of another kind than is asked.
_BOUND = REFUSED | {"EINVAL", "EISCONN", "EOPNOTSUPP", "ENOTCONN", "ENOPROTOOPT", "EPROTONOSUPPORT"}
_SCM_CREDENTIALS, _SO_ATTACH_FILTER, _SO_MARK, _SO_SNDBUFFORCE = 2, 26, 36, 32


def _families(_: Ground) -> Iterable[str]:
    return {word(partial(_made, family, kind)) for family in _FAMILIES for kind in _KINDS}


def _made(family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def _pairs(_: Ground) -> Iterable[str]:
    def pair() -> None:
        for end in socket.socketpair():
            end.close()

    return [word(pair)]


def _reaching(family: int, kind: int, address: Any) -> str:
    def connect() -> None:
        with socket.socket(family, kind) as end:
            end.settimeout(0.2)
            end.connect(address)

    return word(connect)


def _to(family: int, *addresses: Any) -> Iterable[str]:
    return {_reaching(family, kind, one) for one in addresses for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)}


def _loopback(ground: Ground) -> Iterable[str]:
    return _to(socket.AF_INET, ("127.0.0.1", ground.tcp_port))


def _dns(_: Ground) -> Iterable[str]:
    try:
        socket.getaddrinfo("veilbox.example", 80)
    except (OSError, UnicodeError):
        return ["no answer"]
    return ["allowed"]


def _ends(ground: Ground) -> tuple[int, ...]:
    return (0, *ground.edges)


def _on_ends(ground: Ground, act: Callable[[socket.socket], object]) -> Iterable[str]:
    answers = set()
    for number in _ends(ground):
        end = socket.socket(fileno=number)
        try:
            answers.add(word(partial(act, end)))
        finally:
            end.detach()
    return answers


def _abstract(ground: Ground) -> Iterable[str]:
    return {_reaching(socket.AF_UNIX, kind, f"\0{ground.abstract}") for kind in _KINDS}


def _turned(ground: Ground) -> Iterable[str]:
    return _on_ends(ground, lambda end: end.connect(f"\0{ground.abstract}"))


def _forged(end: socket.socket) -> None:
    claim = struct.pack("=iII", 2, 0, 0)  # process 2, root
    end.sendmsg([b"{}"], [(socket.SOL_SOCKET, _SCM_CREDENTIALS, claim)], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _kernel_program(end: socket.socket) -> None:
    """Hand the kernel a filter program that lets everything pass."""
    code = array.array("B", struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF))
    end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, code.buffer_info()[0]))


_ENGINES = (
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/var/run/nscd/socket",
)


def _engines(_: Ground) -> Iterable[str]:
    there = {"there" for path in _ENGINES if os.path.lexists(path)}
    return there | {_reaching(socket.AF_UNIX, socket.SOCK_STREAM, path) for path in _ENGINES}


def _listed(path: str, *, after: int) -> Iterable[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()[after:]
    except OSError:
        return ["none"]
    strange = [line for line in lines if not line.strip().startswith("lo:")]
    return ["listed"] if strange else ["none"]


def _names(_: Ground) -> Iterable[str]:
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        return ["named" for line in file if "@" in line or "/" in line] or ["none"]


def _at(name: str, what: str, refused: frozenset[str], run: Callable[[Ground], Iterable[str]]) -> Attempt:
    return Attempt(id=name, group="network", what=what, refused=refused, run=run)


_NONE = frozenset({"none"})
_CLOSED = ABSENT | {"ENETUNREACH", "ECONNREFUSED", "EAFNOSUPPORT", "EADDRNOTAVAIL"}

ATTEMPTS = (
    _at("socket-of-every-family", "make a socket of 45 families and 4 kinds, AF_ALG, VSOCK, NETLINK, PACKET among them",
        REFUSED | {"EAFNOSUPPORT"}, _families),
    _at("socket-pair", "make a pair of sockets", REFUSED, _pairs),
    _at("host-loopback", "connect to a port of the host's loopback", _CLOSED, _loopback),
    _at("link-local", "connect to 169.254.169.254 and 169.254.1.1", _CLOSED,
        lambda _: _to(socket.AF_INET, ("169.254.169.254", 80), ("169.254.1.1", 80))),
    _at("public-address", "connect to 192.0.2.1 and 198.51.100.1", _CLOSED,
        lambda _: _to(socket.AF_INET, ("192.0.2.1", 443), ("198.51.100.1", 53))),
    _at("broadcast", "connect to broadcast and multicast addresses", _CLOSED,
        lambda _: _to(socket.AF_INET, ("255.255.255.255", 9), ("224.0.0.251", 5353))),
    _at("ipv6", "connect to ::1, a public and a link-local address of IPv6", _CLOSED,
        lambda _: _to(socket.AF_INET6, ("::1", 80), ("2001:db8::1", 443), ("fe80::1", 80))),
    _at("name-lookup", "ask for a name's address", frozenset({"no answer"}), _dns),
    _at("abstract-socket", "connect to an abstract Unix socket of the host", _CLOSED | {"EPROTOTYPE"}, _abstract),
    _at("engine-sockets", "connect to 10 sockets of container engines and services", _CLOSED, _engines),
    _at("own-socket-elsewhere", "connect the control socket and the edges to a socket of the host", _BOUND, _turned),
    _at("own-socket-bound", "give the control socket and the edges a name", _BOUND,
        lambda ground: _on_ends(ground, lambda end: end.bind("\0veilbox-red-team"))),
    _at("own-socket-listening", "listen at the control socket and the edges", _BOUND,
        lambda ground: _on_ends(ground, lambda end: end.listen(1))),
    _at("forged-credentials", "send as another process and as root", _BOUND | {"ESRCH"},
        lambda ground: _on_ends(ground, _forged)),
    _at("kernel-program-on-socket", "attach a filter program to the control socket and the edges", _BOUND,
        lambda ground: _on_ends(ground, _kernel_program)),
    _at("packet-mark", "mark the packets of the control socket and the edges", _BOUND,
        lambda ground: _on_ends(ground, lambda end: end.setsockopt(socket.SOL_SOCKET, _SO_MARK, 7))),
    _at("buffers-beyond-the-limit", "make socket buffers larger than the machine's limit", _BOUND,
        lambda ground: _on_ends(ground, lambda end: end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 1 << 24))),
    _at("interfaces", "list interfaces", _NONE, lambda _: _listed("/proc/net/dev", after=2)),
    _at("routes", "list routes", _NONE, lambda _: _listed("/proc/net/route", after=1)),
    _at("neighbours", "list who was heard on the wire", _NONE, lambda _: _listed("/proc/net/arp", after=1)),
    _at("tcp-connections", "list connections", _NONE, lambda _: _listed("/proc/net/tcp", after=1)),
    _at("named-unix-sockets", "list named Unix sockets", _NONE, _names),
)  # fmt: skip
