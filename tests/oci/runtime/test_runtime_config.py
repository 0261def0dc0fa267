"""config.json: what every component is denied, whatever its plan says."""

from __future__ import annotations

import importlib
import json
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import SECCOMP, container

from veilbox.core.errors import MachineError
from veilbox.core.plan import Limits, Mount
from veilbox.oci.runtime.config import process_limits, runtime_config, write_bundle
from veilbox.oci.runtime.ids import IdLine, IdRange

jsonschema = importlib.import_module("jsonschema")  # ships without types
IDS = IdRange(lines=(IdLine(container=0, host=1879048192, size=65536),))
MOUNTS = (
    Mount(volume="raw", destination="/ring/raw", read_only=False),
    Mount(volume="clean", destination="/ring/clean", read_only=True),
)
SOURCES = {"raw": Path("/m/raw"), "clean": Path("/m/clean")}

# The parts of the runtime-spec's schema (config-schema.json, config-linux.json, defs*.json of 1.0.2) that we use.
ID_MAPPING = {
    "type": "object",
    "properties": {name: {"type": "integer", "minimum": 0} for name in ("containerID", "hostID", "size")},
    "required": ["containerID", "hostID", "size"],
    "additionalProperties": False,
}
STRINGS = {"type": "array", "items": {"type": "string"}}
PATHS = {"type": "array", "items": {"type": "string", "pattern": "^/"}}
SCHEMA = {
    "type": "object",
    "required": ["ociVersion", "process", "root", "mounts", "linux", "hostname"],
    "additionalProperties": False,
    "properties": {
        "ociVersion": {"const": "1.0.2"},
        "hostname": {"type": "string"},
        "root": {
            "type": "object",
            "required": ["path"],
            "additionalProperties": False,
            "properties": {"path": {"type": "string"}, "readonly": {"type": "boolean"}},
        },
        "process": {
            "type": "object",
            "required": ["cwd", "args"],
            "additionalProperties": False,
            "properties": {
                "args": STRINGS,
                "cwd": {"type": "string", "pattern": "^/"},
                "terminal": {"type": "boolean"},
                "env": STRINGS,
                "user": {
                    "type": "object",
                    "properties": {
                        "uid": {"type": "integer"},
                        "gid": {"type": "integer"},
                        "umask": {"type": "integer"},
                        "additionalGids": {"type": "array"},
                    },
                    "additionalProperties": False,
                },
                "capabilities": {"type": "object", "additionalProperties": STRINGS},
                "noNewPrivileges": {"type": "boolean"},
                "rlimits": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "soft", "hard"],
                        "properties": {"type": {"type": "string", "pattern": "^RLIMIT_[A-Z]+$"}},
                    },
                },
            },
        },
        "mounts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["destination"],
                "additionalProperties": False,
                "properties": {
                    "destination": {"type": "string", "pattern": "^/"},
                    "type": {"type": "string"},
                    "source": {"type": "string"},
                    "options": STRINGS,
                },
            },
        },
        "linux": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "namespaces": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type"],
                        "properties": {
                            "type": {"enum": ["mount", "pid", "network", "uts", "ipc", "user", "cgroup"]},
                            "path": {"type": "string", "pattern": "^/"},
                        },
                        "additionalProperties": False,
                    },
                },
                "uidMappings": {"type": "array", "items": ID_MAPPING},
                "gidMappings": {"type": "array", "items": ID_MAPPING},
                "cgroupsPath": {"type": "string"},
                "maskedPaths": PATHS,
                "readonlyPaths": PATHS,
                "seccomp": {"type": "object", "required": ["defaultAction"]},
                "resources": {
                    "type": "object",
                    "properties": {
                        "devices": {"type": "array", "items": {"type": "object", "required": ["allow"]}},
                        "memory": {"type": "object", "additionalProperties": {"type": "integer"}},
                        "pids": {"type": "object", "required": ["limit"]},
                        "cpu": {"type": "object", "additionalProperties": {"type": "integer"}},
                    },
                    "additionalProperties": False,
                },
            },
        },
    },
}


def _config(**changes: Any) -> dict[str, Any]:
    given_ones: dict[str, Any] = {
        "rootfs": Path("/m/root"),
        "mount_sources": SOURCES,
        "ids": IDS,
        "cgroups_path": "/veilbox-1/a",
        "seccomp": SECCOMP,
        "hostname": "veilbox",
        "rlimits": {"RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0},
    }
    return runtime_config(container("a", ("/bin/true",), mounts=MOUNTS), **(given_ones | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cgroups_path": None},
        {"network": Path("/m/net")},
        {"ids": IdRange(lines=(IdLine(container=0, host=1, size=1), IdLine(container=65532, host=2, size=1)))},
    ],
)
def test_it_is_what_the_specification_asks_for(changes: dict[str, Any]) -> None:
    config = _config(**changes)
    jsonschema.validate(config, SCHEMA)
    assert json.loads(json.dumps(config)) == config


def test_privileges_are_empty() -> None:
    process = _config()["process"]
    assert (process["user"]["uid"], process["user"]["gid"]) == (65532, 65532)
    assert process["noNewPrivileges"] is True
    assert set(process["capabilities"]) == {"bounding", "effective", "inheritable", "permitted", "ambient"}
    assert not any(process["capabilities"].values())


def test_every_namespace_is_its_own() -> None:
    namespaces = _config()["linux"]["namespaces"]
    assert {one["type"] for one in namespaces} == {"pid", "mount", "network", "ipc", "uts", "cgroup", "user"}
    assert not any("path" in one for one in namespaces)


def test_a_pinned_network_is_joined() -> None:
    joined = [one for one in _config(network=Path("/m/net"))["linux"]["namespaces"] if "path" in one]
    assert joined == [{"type": "network", "path": "/m/net"}]


def test_root_and_kernel_file_systems_are_read_only() -> None:
    config = _config()
    assert config["root"]["readonly"] is True
    options = {mount["destination"]: set(mount["options"]) for mount in config["mounts"]}
    assert options["/proc"] >= {"ro", "nosuid", "nodev", "noexec"}
    assert options["/dev"] >= {"ro", "nosuid", "noexec"}
    assert "/sys" not in options


def test_volumes_are_as_the_plan_says_and_never_executable() -> None:
    mounts = {mount["destination"]: mount for mount in _config()["mounts"] if mount["type"] == "bind"}
    assert set(mounts) == {"/ring/raw", "/ring/clean"}
    assert all({"nosuid", "nodev", "noexec"} <= set(mount["options"]) for mount in mounts.values())
    assert "rw" in mounts["/ring/raw"]["options"]
    assert "ro" in mounts["/ring/clean"]["options"]


def test_limits_and_no_swap_and_no_device() -> None:
    resources = _config()["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20, "swap": 64 << 20}
    assert resources["pids"] == {"limit": 24}
    assert resources["cpu"] == {"quota": 100_000, "period": 100_000}
    assert resources["devices"] == [{"allow": False, "access": "rwm"}]


def test_without_a_cgroup_there_are_no_resources() -> None:
    linux = _config(cgroups_path=None)["linux"]
    assert "resources" not in linux
    assert "cgroupsPath" not in linux


def test_a_volume_without_a_folder_is_an_error() -> None:
    with pytest.raises(MachineError, match="clean"):
        _config(mount_sources={"raw": Path("/m/raw")})


def test_a_user_without_a_host_id_is_an_error() -> None:
    with pytest.raises(MachineError, match="65532"):
        _config(ids=IdRange(lines=(IdLine(container=0, host=1, size=1),)))


@given(pids=st.integers(1, 1 << 20), without=st.booleans())
def test_rlimits_never_exceed_what_we_have(pids: int, *, without: bool) -> None:
    limits = process_limits(Limits(memory_bytes=1, pids=pids, cpus=1.0), without_cgroup=without)
    assert ("RLIMIT_NPROC" in limits) is without
    for name, value in limits.items():
        hard = resource.getrlimit(getattr(resource, name))[1] if hasattr(resource, name) else -1
        assert hard == resource.RLIM_INFINITY or value <= hard


@pytest.mark.parametrize(("file_bytes", "bound"), [(None, None), (0, 0), (4096, 4096)])
def test_files_are_bounded_where_the_plan_says_so(file_bytes: int | None, bound: int | None) -> None:
    limits = process_limits(Limits(memory_bytes=1, pids=1, cpus=1.0, file_bytes=file_bytes))
    assert limits.get("RLIMIT_FSIZE") == bound
    assert limits["RLIMIT_DATA"] == 1 + (8 << 20)


def test_a_bundle_holds_the_config(tmp_path: Path) -> None:
    write_bundle(tmp_path, {"b": 1})
    assert json.loads((tmp_path / "config.json").read_text()) == {"b": 1}


def test_a_bundle_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"config\.json"):
        write_bundle(tmp_path / "missing", {})
