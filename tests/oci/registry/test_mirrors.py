from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from images import Sample, blob_names, image, with_sbom
from memory_registry import Answer, Fault, MemoryRegistry, changed_body, drop, status
from sides import Side, auth_file, memory_side, quiet

from veilbox.core.errors import ImageError, RegistryUnavailable, UsageError
from veilbox.oci.image.lease import lease
from veilbox.oci.image.store import ImageStore
from veilbox.oci.registry.images import fetch, push
from veilbox.oci.registry.mirrors import Mirror, read_mirrors
from veilbox.oci.registry.reference import Repository
from veilbox.oci.registry.transport import Request

ORIGIN, MIRROR = "registry.example.org", "mirror.example.net:5000"


class Both:
    """A network with two registries."""

    def __init__(self) -> None:
        self.hosts = {ORIGIN: MemoryRegistry(host=ORIGIN), MIRROR: MemoryRegistry(host=MIRROR)}

    def send(self, request: Request) -> AbstractContextManager[Answer]:
        return self.hosts[request.url.split("/")[2]].send(request)


class Rig:
    def __init__(self, folder: Path, *, tags: bool = False) -> None:
        self.folder = folder
        self.network = Both()
        self.origin, self.mirror = self.network.hosts[ORIGIN], self.network.hosts[MIRROR]
        self.store, self.other = ImageStore(folder / "store"), ImageStore(folder / "other")
        for one in (self.store, self.other):
            one.prepare()
        self.sample: Sample = with_sbom(image(self.store.layout, "one"))
        self.mirrors = (Mirror(prefix=ORIGIN, location=f"{MIRROR}/cache", tags=tags),)
        for registry, name in ((self.origin, "a/one"), (self.mirror, "cache/a/one")):
            side = memory_side(registry, folder)
            push(self.store, side.connection(), "one", side.reference(name), quiet)
            registry.log.clear()

    def pull(self) -> None:
        side = Side(ORIGIN, self.network, auth_file(self.folder, ORIGIN))
        with lease(self.other.root) as held:
            fetch(self.other, side.connection(mirrors=self.mirrors), side.reference("a/one"), quiet, held)
        assert blob_names(self.other.layout.root) == blob_names(self.store.layout.root)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_content_comes_from_the_mirror_and_tags_from_the_origin(rig: Rig) -> None:
    rig.pull()
    assert rig.origin.seen("GET", "/blobs/") == []
    assert len(rig.mirror.seen("GET", "/blobs/")) == 5
    assert rig.mirror.seen("GET", "/manifests/1.0") == []


def test_a_mirror_without_a_way_out_may_say_what_tags_are(tmp_path: Path) -> None:
    rig = Rig(tmp_path, tags=True)
    rig.origin.fails("GET", "", drop, times=1000)
    rig.pull()


def test_without_the_origin_tags_are_not_believed(rig: Rig) -> None:
    rig.origin.fails("GET", "", drop, times=1000)
    with pytest.raises(RegistryUnavailable):
        rig.pull()


FAULTS = {
    "gone": status(404),
    "broken": status(400),
    "unreachable": drop,
    "lying": changed_body(lambda body: body[::-1]),
    "short": changed_body(lambda body: body[:-1]),
    "long": changed_body(lambda body: body + b"\0" * 2000),
    "empty": changed_body(lambda _: b""),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_mirror_that_fails_is_passed_over(rig: Rig, fault: Fault) -> None:
    rig.mirror.fails("GET", "/(blobs|manifests)/", fault, times=1000)
    rig.pull()


def test_what_only_the_origin_knows_is_not_missed(rig: Rig) -> None:
    for digest, (_, raw) in list(rig.mirror.manifests["cache/a/one"].items()):
        if b'"subject"' in raw:
            del rig.mirror.manifests["cache/a/one"][digest]
    rig.pull()  # and looks whether all is there


def test_all_lying_is_an_error(rig: Rig) -> None:
    for registry in (rig.origin, rig.mirror):
        registry.fails("GET", "/blobs/", changed_body(lambda body: body[::-1]), times=1000)
    with pytest.raises(ImageError, match="wrong content"):
        rig.pull()


PLACES = {
    "the registry": ("h.io", "m.io/x", "m.io/x/a/b"),
    "a path": ("h.io/a", "m.io/x", "m.io/x/b"),
    "the repository": ("h.io/a/b", "m.io/y", "m.io/y"),
    "half a component": ("h.io/a/bb", "m.io/x", None),
    "half a name": ("h.i", "m.io", None),
    "another": ("g.io", "m.io", None),
}


@pytest.mark.parametrize(("prefix", "location", "place"), PLACES.values(), ids=PLACES)
def test_where_a_mirror_has_a_repository(prefix: str, location: str, place: str | None) -> None:
    found = Mirror(prefix=prefix, location=location).of(Repository("h.io", "a/b"))
    assert (None if found is None else str(found)) == place


def test_the_file_of_mirrors(tmp_path: Path) -> None:
    path = tmp_path / "registries.toml"
    assert read_mirrors(path) == ()
    first = '[[mirror]]\nprefix = "h.io/"\nlocation = "m.io/x/"\n'
    path.write_text(first + '[[mirror]]\nprefix = "g.io"\nlocation = "n.io"\ntags = true\n')
    assert read_mirrors(path) == (
        Mirror(prefix="h.io", location="m.io/x"),
        Mirror(prefix="g.io", location="n.io", tags=True),
    )


NO_MIRRORS = (
    "[mirror]",
    '[[mirror]]\nprefix="h"',
    "x",
    '[[mirror]]\nprefix=""\nlocation="m"',
    '[[mirrors]]\nprefix="h"\nlocation="m"',
)


@pytest.mark.parametrize("text", NO_MIRRORS)
def test_a_file_that_is_half_understood_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registries.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="mirror"):
        read_mirrors(path)
