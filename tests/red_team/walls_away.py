"""The walls of a container, each with what takes it away from the runtime's configuration, and what must notice.

    walls_away.py RUNTIME FOLDER WALL...

Starts ingest and anonymize as `veilbox attack` does, once for each wall, anonymize without that wall, and
prints as JSON what the probe and the host's look found. Each wall has a process of its own, because that becomes a
supervisor. An empty word takes nothing away.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from changed_config import VICTIM, Config, changed, without_filter
from hostile_layer import stand_ins

from veilbox.core.isolation import Measured
from veilbox.core.plan import Plan
from veilbox.core.policy import Policy
from veilbox.oci.image.store import ImageStore
from veilbox.orchestrate.machine import engine
from veilbox.orchestrate.plan import RINGS, attack_plan, detectors
from veilbox.orchestrate.pod import Pod
from veilbox.seal.canary import planted

# A ring of the pod that the victim may not see.
FOREIGN = "analysis"
# In a user namespace a mount cannot lose flags that it has outside; runc asks for no more than the configuration says.
_LOCKED = ("ro", "nosuid", "nodev", "noexec")


# A component's entry point without the laying of its own walls.
_BARE_MAIN = """import sys
from veilbox.components.entry import main
sys.exit(main(sys.argv[1:], first_ns=1))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wall:
    """One wall.

    Attributes:
        what: What is taken away, as a person would say it.
        without: Takes it from a config.json.
        notice: Gates and findings that must fail then; none if another wall holds alone.
        modules: Code of the component that is another then, as in `hostile_layer`.
        instead: Which other wall still stands, where `notice` is empty.
    """

    what: str
    notice: frozenset[str]
    without: Callable[[Config], None] = lambda _: None
    modules: Mapping[str, str] = field(default_factory=dict)
    instead: str = ""


def _shared(kind: str) -> Callable[[Config], None]:
    """The namespace is the supervisor's."""

    def without(config: Config) -> None:
        linux = config["linux"]
        linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] != kind]

    return without


def _shared_pids(config: Config) -> None:
    _shared("pid")(config)
    _bound(config, "/proc", "/proc", "rbind", *_LOCKED)  # a proc of one's own needs a pid namespace of one's own


def _shared_names(config: Config) -> None:
    _shared("uts")(config)
    del config["hostname"]


def _shared_users(config: Config) -> None:
    _shared("user")(config)
    del config["linux"]["uidMappings"], config["linux"]["gidMappings"]


def _without_flag_and_filter(config: Config) -> None:
    """The flag alone cannot go: a runtime that has laid the filter may no longer drop capabilities itself."""
    without_filter(config)
    config["process"]["noNewPrivileges"] = False


def _with_capability(name: str) -> Callable[[Config], None]:
    def without(config: Config) -> None:
        config["process"]["capabilities"] = {kind: [name] for kind in config["process"]["capabilities"]}

    return without


def _set(*path: str, value: object) -> Callable[[Config], None]:
    def without(config: Config) -> None:
        place = config
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return without


def _bound(config: Config, source: str, destination: str, *options: str) -> None:
    mount = {"destination": destination, "type": "bind", "source": source, "options": [*options]}
    config["mounts"] = [*(one for one in config["mounts"] if one["destination"] != destination), mount]


def _with_mount(source: str, destination: str, *options: str) -> Callable[[Config], None]:
    return lambda config: _bound(config, source, destination, "rbind", *options)


def _writable_folder(*options: str) -> Callable[[Config], None]:
    def without(config: Config) -> None:
        mount = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777", *options]}  # noqa: S108
        config["mounts"].append(mount)

    return without


def _with_foreign_ring(config: Config) -> None:
    own = next(one["source"] for one in config["mounts"] if one["destination"].startswith(f"{RINGS}/"))
    _bound(config, str(Path(own).with_name(f"volume-{FOREIGN}")), f"{RINGS}/{FOREIGN}", "bind", *_LOCKED)


def _with_variable(config: Config) -> None:
    config["process"]["env"].append("AWS_SECRET_ACCESS_KEY=of-the-test")


def _without_masks(config: Config) -> None:
    config["linux"]["maskedPaths"] = []


def _writable_kernel_files(config: Config) -> None:
    config["linux"]["readonlyPaths"] = []
    proc = next(one for one in config["mounts"] if one["destination"] == "/proc")
    proc["options"].remove("ro")


def _without_limit(name: str) -> Callable[[Config], None]:
    def without(config: Config) -> None:
        del config["linux"]["resources"][name]

    return without


def _with_core_files(config: Config) -> None:
    for limit in config["process"]["rlimits"]:
        if limit["type"] == "RLIMIT_CORE":
            limit["soft"] = limit["hard"] = 1 << 30


WALLS: Mapping[str, Wall] = {
    "pid namespace": Wall(
        what="the host's processes in sight",
        without=_shared_pids,
        notice=frozenset({"pid-namespace", "own-processes-only"}),
    ),
    "network namespace": Wall(
        what="the host's network",
        without=_shared("network"),
        notice=frozenset({"network-namespace", "interfaces-absent"}),
    ),
    "ipc namespace": Wall(
        what="the host's shared memory and queues", without=_shared("ipc"), notice=frozenset({"ipc-namespace"})
    ),
    "uts namespace": Wall(what="the host's name", without=_shared_names, notice=frozenset({"uts-namespace"})),
    "cgroup namespace": Wall(
        what="the host's view of control groups", without=_shared("cgroup"), notice=frozenset({"proc-leaks-absent"})
    ),
    "user namespace": Wall(
        what="ids that are the host's",
        without=_shared_users,
        notice=frozenset({"root-maps-to-nobody", "uid-range-own"}),
    ),
    "seccomp": Wall(
        what="the runtime's filter on system calls", without=without_filter, notice=frozenset({"seccomp-active"})
    ),
    "capability CAP_SYS_ADMIN": Wall(
        what="a capability that may nearly everything",
        without=_with_capability("CAP_SYS_ADMIN"),
        notice=frozenset({"capabilities-empty"}),
    ),
    "capability CAP_NET_RAW": Wall(
        what="a capability that makes raw packets",
        without=_with_capability("CAP_NET_RAW"),
        notice=frozenset({"capabilities-empty"}),
    ),
    "no-new-privileges and seccomp": Wall(
        what="the flag that set-uid programs heed, and the filter; the component sets the flag itself again",
        without=_without_flag_and_filter,
        notice=frozenset({"seccomp-active"}),
    ),
    "the component's own": Wall(
        what="Landlock, the second filter and all else that a component takes from itself",
        modules={"veilbox/components/__main__.py": _BARE_MAIN},
        notice=frozenset({"seccomp-active", "own-walls"}),
    ),
    "user": Wall(
        what="root in the container", without=_set("process", "user", value={"uid": 0, "gid": 0}),
        notice=frozenset({"uid-not-root"}),
    ),
    "root read-only": Wall(
        what="the flag `readonly` of the root",
        without=_set("root", "readonly", value=False),
        notice=frozenset(),
        instead="the overlay itself is mounted read-only",
    ),
    "writable folder": Wall(
        what="a tmpfs at /tmp",
        without=_writable_folder("nosuid", "nodev", "noexec"),
        notice=frozenset({"foreign-volumes-absent"}),
    ),
    "writable folder with programs": Wall(
        what="a tmpfs at /tmp on which programs run",
        without=_writable_folder("nosuid", "nodev"),
        notice=frozenset({"writable-not-executable"}),
    ),
    "host folder": Wall(
        what="a folder of the host, read-only, at a path of the image",
        without=_with_mount("/usr/share", "/canary", *_LOCKED),
        notice=frozenset({"foreign-volumes-absent"}),
    ),
    "run folder of the host": Wall(
        what="/run of the host, with the sockets of its services",
        without=_with_mount("/run", "/run", *_LOCKED),
        notice=frozenset({"foreign-volumes-absent"}),
    ),
    "ring of another edge": Wall(
        what="a volume of the pod that is another component's",
        without=_with_foreign_ring,
        notice=frozenset({"foreign-volumes-absent"}),
    ),
    "device": Wall(
        what="a device of the host", without=_with_mount("/dev/fuse", "/dev/fuse"), notice=frozenset({"devices-absent"})
    ),
    "devices of the host": Wall(
        what="/dev of the host", without=_with_mount("/dev", "/dev"), notice=frozenset({"devices-absent"})
    ),
    "sysfs": Wall(what="/sys of the host, read-only", without=_with_mount("/sys", "/sys", *_LOCKED),
                  notice=frozenset({"sys-leaks-absent"})),
    "masks over /proc": Wall(
        what="the masks over kcore, keys, timer_list and more",
        without=_without_masks,
        notice=frozenset({"proc-leaks-absent"}),
    ),
    "read-only /proc": Wall(
        what="the read-only mount of /proc and of its settings",
        without=_writable_kernel_files,
        notice=frozenset(),
        instead="nobody's user may write none of them, and Landlock lets no component try",
    ),
    "core files": Wall(
        what="the limit on core files",
        without=_with_core_files,
        notice=frozenset(),
        instead="the component lowers the limit itself",
    ),
    "memory limit": Wall(
        what="the control group's bound of memory",
        without=_without_limit("memory"),
        notice=frozenset({"limits-bite"}),
    ),
    "process limit": Wall(
        what="the control group's bound of processes and threads",
        without=_without_limit("pids"),
        notice=frozenset({"limits-bite"}),
    ),
    "processor limit": Wall(
        what="the control group's share of the processors",
        without=_without_limit("cpu"),
        notice=frozenset({"limits-bite"}),
    ),
    "environment": Wall(
        what="a secret among the variables", without=_with_variable, notice=frozenset({"environment-clean"})
    ),
    "working directory": Wall(
        what="another working directory", without=_set("process", "cwd", value="/usr"),
        notice=frozenset({"descriptors-closed"}),
    ),
}  # fmt: skip


NONE = Wall(what="nothing", notice=frozenset())
NOTHING = ""


def found_without(runtime: str, folder: Path, wall: Wall) -> Measured:
    """What is found in a component that lacks a wall; this process becomes a supervisor.

    Args:
        runtime: The container runtime's name.
        folder: For the layer of a component whose code is another.
        wall: Which; `NONE` for none.
    """
    policy = Policy()
    names = detectors(policy)
    with (
        changed(wall.without, VICTIM),
        stand_ins(folder, {VICTIM: wall.modules} if wall.modules else {}),
        engine(
            ImageStore.default(), ("ingest", VICTIM), detect=lambda _: dict.fromkeys(names), runtimes=(runtime,)
        ) as machine,
    ):
        plan = _without_detectors(attack_plan(policy, machine.programs, cpus=machine.cpus, detect=names))
        with planted() as canaries, Pod(plan, machine.launcher, policy, canaries) as pod:
            pod.await_ready()
            return pod.members[VICTIM].measured


def _without_detectors(plan: Plan) -> Plan:
    """Detectors cost most of a start, and say nothing of their neighbour's walls."""
    kept = tuple(one for one in plan.containers if one.name in {"ingest", VICTIM})
    edges = tuple(
        replace(edge, consumers=tuple(name for name in edge.consumers if name == VICTIM))
        for edge in plan.edges
        if edge.producer == "ingest"
    )
    return replace(plan, containers=kept, edges=edges)


def _tell(told: Connection, runtime: str, folder: Path, wall: Wall) -> None:
    measured = found_without(runtime, folder, wall)
    broken = sorted({gate.name for gate in measured.gates if not gate.held})
    told.send({"level": measured.level, "failed": measured.failed, "broken": broken})


def in_a_process(runtime: str, folder: Path, wall: Wall) -> object:
    """`found_without` in a fork of this process, which has imported everything.

    Raises:
        EOFError: It found nothing; it has said why.
    """
    context = get_context("fork")
    told, telling = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(telling, runtime, folder, wall))
    process.start()
    telling.close()
    found: object = told.recv()
    process.join()
    return found


if __name__ == "__main__":
    chosen = {name: WALLS.get(name, NONE) for name in sys.argv[3:]}
    json.dump({name: in_a_process(sys.argv[1], Path(sys.argv[2]), wall) for name, wall in chosen.items()}, sys.stdout)
