"""Documents for scan's tests: the clean ones, changed at named places."""

from __future__ import annotations

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from veilbox.core.digest import Digest
from veilbox.core.plan import Container, Limits, Mount
from veilbox.oci.runtime.config import process_limits, runtime_config
from veilbox.oci.runtime.ids import IdLine, IdRange
from veilbox.oci.runtime.seccomp import seccomp
from veilbox.scan.rule import Profile
from veilbox.scan.scanner import Scanned, scan
from veilbox.scan.suppression import Suppression

HERE = Path(__file__).parent
TODAY = date(2026, 11, 24)


def bundle(name: str = "anonymize") -> dict[str, Any]:
    """The config.json that veilbox makes for a component."""
    limits = Limits(memory_bytes=1 << 30, pids=40, cpus=2)
    container = Container(
        name=name,
        image=Digest(f"sha256:{'0' * 64}"),
        args=("python3", "-m", "veilbox.components", name),
        env=(),
        mounts=(
            Mount(volume="raw", destination="/rings/raw", read_only=True),
            Mount(volume="clean", destination="/rings/clean", read_only=False),
        ),
        limits=limits,
        syscalls=(),
    )
    return runtime_config(
        container,
        rootfs=Path("/m/root"),
        mount_sources={"raw": Path("/m/raw"), "clean": Path("/m/clean")},
        ids=IdRange(lines=(IdLine(container=0, host=1879048192, size=65536),)),
        cgroups_path="/veilbox/x",
        seccomp=seccomp(["read"], "x86_64"),
        hostname=name,
        rlimits=process_limits(limits),
    )


def clean(form: str) -> list[Any]:
    """The documents of a format that break no rule."""
    if form == "oci":
        return [bundle()]
    name = {"kubernetes": "pod.yaml", "compose": "compose.yaml"}[form]
    # Without aliases, so that a change in one place is one in one place only.
    documents = yaml.load_all((HERE / "clean" / name).read_text("utf-8"), Loader=yaml.CSafeLoader)
    return [json.loads(json.dumps(document)) for document in documents]


def changed(form: str, changes: dict[str, Any]) -> bytes:
    """The clean documents with values put at JSON Pointers of the first; null takes away, a last `-` appends."""
    documents = clean(form)
    for pointer, value in changes.items():
        *way, last = pointer.strip("/").split("/")
        place = documents[0]
        for word in way:
            place = place[int(word)] if isinstance(place, list) else place.setdefault(word, {})
        _put(place, last, copy.deepcopy(value))
    return yaml.dump_all(documents, sort_keys=False, Dumper=yaml.CSafeDumper).encode()


def _put(place: Any, last: str, value: object) -> None:
    if last == "-":
        place.append(value)
    elif isinstance(place, list):
        place[int(last) : int(last) + 1] = [] if value is None else [value]
    elif value is None:
        place.pop(last, None)
    else:
        place[last] = value


def scanned(data: bytes, profile: Profile = Profile.VEILBOX, *, suppressions: tuple[Suppression, ...] = ()) -> Scanned:
    """The scan of one named file."""
    return scan({"file": data}, profile, named=["file"], suppressions=suppressions, today=TODAY)


def rules_broken(data: bytes, profile: Profile = Profile.VEILBOX) -> set[str]:
    """Ids of the rules that a file breaks; it must be readable."""
    result = scanned(data, profile)
    assert result.unreadable == ()
    return {finding.rule.id for finding in result.open}
