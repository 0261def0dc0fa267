"""What a component takes from itself, in processes of their own: nothing of it could be taken back."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from veilbox.core.errors import MachineError, UsageError
from veilbox.core.system_calls import FILTERED_AFTER_START, START_ONLY, UNKNOWN
from veilbox.seal import landlock, own_walls
from veilbox.seal.allowlist import syscalls
from veilbox.seal.allowlist.numbers import NUMBERS
from veilbox.seal.second_filter import program

COMPONENTS = ("ingest", "detect-centerface", "anonymize", "export", "claim", "verify", "audit")
ALLOWED, EPERM, ENOSYS = 0, 1, 38

HEAD = """
import ctypes, os, resource, socket, sys, threading
from veilbox.seal.landlock import restrict
from veilbox.seal.own_walls import lay_own_walls
from veilbox.seal.second_filter import tighten
def said(attempt):
    try:
        attempt()
    except OSError as error:
        return error.errno
    return 0
"""


def run(script: str, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-c", HEAD + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


needs_landlock = pytest.mark.skipif(landlock.version() < 1, reason="the kernel has no Landlock")


@needs_landlock
class TestLandlock:
    def test_only_the_named_folder_can_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "rings").mkdir()
        (tmp_path / "old").write_text("old")
        script = """
folder = sys.argv[1]
assert restrict(writable=(f"{folder}/rings", "/not/there")) >= 1
print(said(lambda: open(f"{folder}/rings/new", "w").close()), said(lambda: os.truncate(f"{folder}/rings/new", 9)),
      said(lambda: os.unlink(f"{folder}/rings/new")), said(lambda: open(f"{folder}/new", "w").close()),
      said(lambda: open(f"{folder}/old", "a").close()), said(lambda: os.unlink(f"{folder}/old")),
      said(lambda: os.mkdir(f"{folder}/rings/folder")), said(lambda: open(f"{folder}/old").close()))
"""
        assert run(script, str(tmp_path)) == "0 0 0 13 13 13 13 0"

    def test_only_the_named_files_can_be_read(self, tmp_path: Path) -> None:
        for name in ("one", "other"):
            (tmp_path / name).write_text(name)
        script = """
folder = sys.argv[1]
restrict(readable=(f"{folder}/one", "/proc"))
print(said(lambda: open(f"{folder}/one").close()), said(lambda: open(f"{folder}/other").close()),
      said(lambda: os.listdir(folder)), said(lambda: os.listdir("/proc")))
"""
        assert run(script, str(tmp_path)) == "0 13 13 0"

    def test_a_descriptor_that_is_handed_over_keeps_its_rights(self, tmp_path: Path) -> None:
        script = """
held = os.open(sys.argv[1] + "/out", os.O_RDWR | os.O_CREAT)
restrict()
print(os.write(held, b"frames"), said(lambda: os.ftruncate(held, 3)), said(lambda: os.open(f"/proc/self/fd/{held}", 2)))
"""
        assert run(script, str(tmp_path)) == "6 0 13"
        assert (tmp_path / "out").read_bytes() == b"fra"

    def test_no_program_no_port_no_abstract_socket_and_no_signal(self) -> None:
        script = """
listener = socket.socket(socket.AF_UNIX); listener.bind(f"\\0veilbox-own-walls-{os.getpid()}"); listener.listen()
server = socket.create_server(("127.0.0.1", 0))
name, port = listener.getsockname(), server.getsockname()[1]
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
abi = restrict()
print(said(lambda: os.execv("/bin/true", ["true"])),
      said(lambda: socket.socket().bind(("127.0.0.1", 0))) if abi >= 4 else 13,
      said(lambda: socket.socket().connect(("127.0.0.1", port))) if abi >= 4 else 13,
      said(lambda: socket.socket(socket.AF_UNIX).connect(name)) if abi >= 6 else 1,
      said(lambda: os.kill(os.getppid(), 0)) if abi >= 6 else 1)
"""
        assert run(script) == "13 13 13 1 1"


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6, 7, 8])
def test_every_kernel_is_asked_for_all_that_it_knows_and_no_more(abi: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int | bytes, ...]] = []

    def call(number: int, *arguments: int | bytes) -> int:
        asked.append((number, *arguments))
        return os.open("/", os.O_RDONLY) if number == 444 else 0

    monkeypatch.setattr(landlock, "version", lambda: abi)
    monkeypatch.setattr(landlock, "_call", call)
    assert landlock.restrict() == abi
    attributes, size = asked[0][1], asked[0][2]
    assert isinstance(attributes, bytes)
    assert size == {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}.get(abi, 24)
    files, network, scopes = struct.unpack("=QQQ", attributes)
    assert files.bit_count() == {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    assert (network, scopes) == (3 if abi >= 4 else 0, 3 if abi >= 6 else 0)


def test_without_landlock_nothing_is_denied_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: -1)
    assert landlock.restrict() == 0


def answer(code: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would answer: classic BPF over struct seccomp_data, run by hand; 0 if the call passes."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(arguments + (0,) * (6 - len(arguments))))
    accumulator, at = 0, 0
    while True:
        what, true, false, value = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        match what:
            case 0x20:
                accumulator = int.from_bytes(data[value : value + 4], "little")
            case 0x54:
                accumulator &= value
            case 0x15:
                at += true if accumulator == value else false
            case _:
                assert what == 0x06
                return 0 if value == 0x7FFF0000 else value & 0xFFFF


X86, ARM = 0xC000003E, 0xC00000B7
MACHINES = {"x86_64": (0, X86), "aarch64": (1, ARM)}


def numbered(column: int) -> Iterator[tuple[str, int]]:
    for name, numbers in NUMBERS.items():
        number = numbers[column]
        if number is not None:
            yield name, number


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("component", COMPONENTS)
def test_the_second_filter_is_the_list_less_what_the_start_needed(component: str, machine: str) -> None:
    column, architecture = MACHINES[machine]
    names = set(syscalls(component))
    code = program(names, machine)
    assert len(code) // 8 < 4096  # linux/bpf_common.h BPF_MAXINSNS
    for name, number in numbered(column):
        if name in FILTERED_AFTER_START and name in names:
            continue
        expected = ALLOWED if name in names - START_ONLY else ENOSYS if name in UNKNOWN else EPERM
        assert answer(code, architecture, number) == expected, name
    for number in {*range(600)} - {number for _, number in numbered(column)}:
        assert answer(code, architecture, number) == EPERM


THREAD, FORK = 0x003D0F00, 0x01200011
CASES: list[tuple[str, tuple[int, ...], int]] = [
    ("clone", (THREAD,), ALLOWED),
    ("clone", (FORK,), EPERM),
    ("clone", (THREAD | 0x10000000,), EPERM),
    ("clone", (THREAD | 1 << 40,), ALLOWED),  # the kernel looks at the low half, as the runtime's rule does
    ("fcntl", (3, 1030), ALLOWED),
    ("fcntl", (3, 4), EPERM),  # F_SETFL, which the runtime's rule lets pass
    ("fcntl", (3, 37), EPERM),  # F_OFD_SETLK
    ("futex", (4096, 129), ALLOWED),
    ("futex", (4096, 9 | 256), ALLOWED),
    ("futex", (4096, 1), EPERM),
    ("ioctl", (0, 0x5401), ALLOWED),
    ("ioctl", (0, 0x5401 | 1 << 32), EPERM),
    ("ioctl", (0, 0x5412), EPERM),
    ("prctl", (15,), ALLOWED),
    ("prctl", (39,), ALLOWED),
    ("prctl", (1, 9), EPERM),
    ("prctl", (4, 0), EPERM),
    ("prctl", (22, 2), EPERM),
    ("mmap", (0, 4096, 3), ALLOWED),
    ("mmap", (0, 4096, 5), ALLOWED),
    ("mmap", (0, 4096, 7), EPERM),
    ("mprotect", (0, 4096, 3), ALLOWED),
    ("mprotect", (0, 4096, 5), EPERM),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "expected"), CASES)
def test_arguments_count(name: str, arguments: tuple[int, ...], expected: int, machine: str) -> None:
    column, architecture = MACHINES[machine]
    number = NUMBERS[name][column]
    assert number is not None
    assert answer(program(syscalls("ingest"), machine), architecture, number, arguments) == expected


def test_another_architecture_is_refused_as_a_whole() -> None:
    code = program(syscalls("ingest"), "x86_64")
    assert {answer(code, ARM, number) for number in range(600)} == {EPERM}
    assert answer(code, X86, 0x40000000) == EPERM  # x32


def test_a_name_without_a_number_is_no_filter() -> None:
    with pytest.raises(MachineError, match="tickle"):
        program(["tickle"], "x86_64")


def test_the_kernel_holds_the_second_filter_for_every_thread() -> None:
    script = """
from veilbox.seal.allowlist import syscalls
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
assert tighten(syscalls("ingest"))
answers = []
thread = threading.Thread(target=lambda: answers.append(said(lambda: os.execv("/bin/true", ["true"]))))
thread.start(), thread.join()
libc = ctypes.CDLL(None, use_errno=True)
refused = [libc.syscall(number, 0, 0, 0) and ctypes.get_errno() for number in (444, 445, 446)]
print(answers, refused, said(os.fork), said(lambda: socket.socket()), said(lambda: os.close(os.open("/", os.O_RDONLY))))
print("Seccomp:\\t2" in open("/proc/self/status").read())
"""
    assert run(script).splitlines() == ["[1] [1, 1, 1] 1 1 0", "True"]


def test_all_of_it_together() -> None:
    script = """
kept = os.open("/", os.O_RDONLY)
lay_own_walls("ingest", limits={"RLIMIT_FSIZE": 4096})
bounds = [resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in ("CORE", "MEMLOCK", "FSIZE")]
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(said(lambda: os.fstat(kept)), bounds, resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 1024)
print(status["NoNewPrivs"], status["Seccomp"], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(said(lambda: os.open("/dev/null", os.O_WRONLY)), said(lambda: os.execv("/bin/true", ["true"])))
"""
    kept, flags, tried = run(script).splitlines()
    assert kept == "9 [(0, 0), (0, 0), (4096, 4096)] True"
    assert flags.split()[:2] == ["1", "2"]
    assert tried == ("13 1" if landlock.version() >= 1 else "0 1")


def test_nobody_without_rights_looks_into_it() -> None:
    """Dumpable off: /proc/PID is root's, and a process of the same user cannot open what is in it."""
    script = """
told, tell = os.pipe()
asked, ask = os.pipe()
child = os.fork()
if child == 0:
    os.dup2(tell, 1), os.dup2(asked, 0)
    lay_own_walls("ingest")
    os.write(1, b"x")
    os.read(0, 1)
    os._exit(0)
os.read(told, 1)
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)  # in place of an ordinary user
print(said(lambda: os.listdir(f"/proc/{child}/fd")), said(lambda: open(f"/proc/{child}/environ").close()),
      said(lambda: open(f"/proc/{child}/status").close()))
os.write(ask, b"x")
"""
    assert run(script) == "13 13 0"


def test_a_limit_is_never_raised() -> None:
    script = """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
lay_own_walls("audit")
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert run(script) == "(64, 64)"


def test_an_unknown_component_has_no_walls_and_no_start() -> None:
    with pytest.raises(UsageError, match="no allow-list"):
        own_walls.lay_own_walls("supervisor")
    done = subprocess.run(
        [sys.executable, "-m", "veilbox.components", "supervisor"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, "no allow-list" in done.stderr) == (2, True)


def test_nothing_that_makes_threads_is_imported_before_the_walls() -> None:
    script = "import veilbox.seal.own_walls; print({'numpy', 'av', 'onnxruntime', 'msgspec'} & set(sys.modules))"
    assert run(script) == "set()"


COUNTING = """
from veilbox.seal import confinement, own_walls
from veilbox.seal.allowlist import numbers
"""


def test_few_calls_are_allowed_behind_the_list() -> None:
    script = COUNTING + "lay_own_walls('detect'); gate = confinement.allowed_calls_few(); print(gate.held, gate.found)"
    held, found = run(script).split(" ", 1)
    assert held == "True"
    assert found.endswith("0 of them beyond the list")
    assert int(found.split()[0]) <= 90


def test_a_wide_list_is_counted() -> None:
    """Some sixty calls more that do nothing without a descriptor or an address."""
    script = (
        COUNTING
        + """
more = {**{f"x{number}": (number, None) for number in range(184, 202)}, **{f"y{n}": (n, None) for n in range(237, 260)},
        **{f"z{n}": (n, None) for n in range(275, 300)}}
numbers.NUMBERS.update(more)
listed = own_walls.syscalls("detect")
own_walls.tighten((*listed, *more))
own_walls._laid = own_walls.Laid(0, True, listed)
gate = confinement.allowed_calls_few()
print(gate.held, gate.found)
"""
    )
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are x86_64's")
    own = "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"
    held, found = run(own + script).split(" ", 1)
    assert held == "False"
    assert int(found.split()[0]) > 130


def test_without_a_filter_of_its_own_nobody_counts() -> None:
    assert run(COUNTING + "print(confinement.allowed_calls_few().found)") == "unknown: no filter of its own"
