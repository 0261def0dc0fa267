"""`make image-table`: sizes, build and pull times of images and layers, beside images made the usual way.

The usual way is what a Dockerfile on a slim Python image gives: a slim Debian with Python, certificates and zones,
`pip install` of the same locked packages, our code, the model. Its layers are compressed as ours are (gzip 6), and
its base is counted once for all images. The base is built here, from Debian's packages, as the public Dockerfiles of
`debian:*-slim` and `python:*-slim` do: minbase without documentation and translations, no bytecode; Python is Debian's
own instead of one compiled from source. `mmdebstrap` makes it; without it the columns stay empty.

Builds run in a fresh store: cold (nothing in it; uv's own cache of wheels stays) and warm (again). Pulls come from
Debian's `docker-registry` on loopback into fresh stores, and end with images that jobs may run: fetched, verified,
admitted, unpacked; the usual way's are fetched and verified only, so the full set is pulled in that way too.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import uv

from veilbox.oci.image import definition
from veilbox.oci.image.build import Built, build
from veilbox.oci.image.compression import Compression
from veilbox.oci.image.definition import CodeLayer, ModelLayer, OwnModelLayer, WheelLayer
from veilbox.oci.image.layer import Packed, pack
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.model import install_model, install_own_model
from veilbox.oci.image.spec import CONFIG_TYPE, MANIFEST_TYPE, MODEL_LABEL
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds, unpack_layer
from veilbox.oci.image.wire import canonical, manifest_bytes
from veilbox.oci.pull import pull
from veilbox.oci.registry.credentials import CredentialSource
from veilbox.oci.registry.http import HttpTransport
from veilbox.oci.registry.images import Connection, push
from veilbox.oci.registry.reference import Reference, Repository, parse_reference
from veilbox.oci.registry.session import Session
from veilbox.oci.trust.endorse import Opened, endorse_built

ROUNDS = 3
DETECTOR = "detect-centerface"
NAMES = definition.image_names()
# What `debian:*-slim` leaves out (debuerreotype's list), and what apt keeps for itself.
SLIMMED = (
    "var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale",
    "usr/share/lintian", "usr/share/linda", "usr/share/groff",
)  # fmt: skip
MINBASE = ("python3", "ca-certificates", "tzdata", "netbase")
SITE = Path("usr/lib/python3/site-packages")


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-peer", action="store_true", help="leave the usual way out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="veilbox-sizes.") as name:
        work = Path(name)
        store = ImageStore(work / "store")
        cold_s, gzip = timed(store, Compression.GZIP)
        warm_s, _ = timed(store, Compression.GZIP)
        _, zstd = timed(store, Compression.ZSTD)
        timed(store, Compression.GZIP)  # the names stand for the images that every tool reads
        endorse_built(store, NAMES)
        peer = {} if arguments.no_peer or shutil.which("mmdebstrap") is None else usual_way(work)
        pulls = pull_times(work, store, peer) if shutil.which("docker-registry") else {}
    sizes = {name: image.size for name, image in peer.items()}
    sys.stdout.write("\n".join([*layer_table(gzip, zstd), "", *image_table(gzip, zstd, sizes)]) + "\n")
    sys.stdout.write("\n".join(["", *pull_table(pulls)]) + "\n")
    sys.stdout.write(f"\nBuild of all {len(NAMES)} images: {cold_s:.0f} s cold, {warm_s:.2f} s warm.\n")


def timed(store: ImageStore, compression: Compression) -> tuple[float, list[Built]]:
    """Build every image and say how long it took."""
    begun = time.perf_counter()
    built = build(store, NAMES, tell, compression=compression)
    return time.perf_counter() - begun, built


def tell(line: str) -> None:
    """Progress for who waits."""
    sys.stderr.write(f"{line}\n")


def layer_table(gzip: Sequence[Built], zstd: Sequence[Built]) -> Iterator[str]:
    """One line for each layer."""
    users: dict[str, list[str]] = {}
    for image in gzip:
        for layer in image.layers:
            users.setdefault(layer.name, []).append(image.name)
    sizes = [{layer.name: layer.size for image in built for layer in image.layers} for built in (gzip, zstd)]
    yield "| Layer | gzip MB | zstd MB | In |"
    yield "|---|---:|---:|---|"
    for name, images in users.items():
        yield f"| {name} | {mb(sizes[0][name])} | {mb(sizes[1][name])} | {', '.join(images)} |"


def image_table(gzip: Sequence[Built], zstd: Sequence[Built], peer: dict[str, int]) -> Iterator[str]:
    """One line for each image, then all of them with shared layers counted once."""
    yield "| Image | gzip MB | of it shared | zstd MB | the usual way MB |"
    yield "|---|---:|---:|---:|---:|"
    counts: dict[object, int] = {}
    for image in gzip:
        for layer in image.layers:
            counts[layer.digest] = counts.get(layer.digest, 0) + 1
    for ours, smaller in zip(gzip, zstd, strict=True):
        shared = sum(layer.size for layer in ours.layers if counts[layer.digest] > 1)
        yield f"| {ours.name} | {total([ours])} | {mb(shared)} | {total([smaller])} | {mb(peer.get(ours.name))} |"
    yield f"| all, each layer once | {total(gzip)} | | {total(zstd)} | {mb(peer.get('all'))} |"


def total(images: Sequence[Built]) -> str:
    """Megabytes of images, each layer once."""
    return mb(sum({layer.digest: layer.size for image in images for layer in image.layers}.values()))


def mb(size: int | None) -> str:
    """Megabytes (10^6 bytes); empty if it was not measured."""
    return "" if size is None else f"{size / 1e6:.1f}"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An image made the usual way.

    Attributes:
        size: Of its layers, base included; of all images together with the base counted once.
        own: Of its topmost layer, which code and model share.
    """

    size: int
    own: int


def usual_way(work: Path) -> dict[str, Peer]:
    """Images with the same content on a slim Debian, in a layout of their own under `work/peer`."""
    store = ImageStore(work / "peer")
    base = work / "minbase"
    tell("the usual way: a slim Debian")
    words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(MINBASE)}", codename(), str(base)]
    subprocess.run(words, check=True)
    shutil.rmtree(base / "dev")  # a container gets its own
    for unwanted in (*(base / name for name in SLIMMED), *base.rglob("__pycache__")):
        shutil.rmtree(unwanted, ignore_errors=True)
    relink(base)
    below = pack(base, store.layout)
    peers = {}
    for name in NAMES:
        layers = (below, *pip_layers(work, store.layout, name))
        tag_image(store, name, layers)
        peers[name] = Peer(size=sum(one.descriptor.size for one in layers), own=layers[-1].descriptor.size)
    unique = below.descriptor.size + sum(peer.size - below.descriptor.size for peer in peers.values())
    return peers | {"all": Peer(size=unique, own=0)}


def tag_image(store: ImageStore, name: str, layers: Sequence[Packed]) -> None:
    """Make a plain image of layers."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": "1:1", "Entrypoint": ["/usr/bin/python3"]},
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id.text for one in layers]},
    }
    described = store.layout.write(canonical(config), CONFIG_TYPE)
    raw = manifest_bytes(described, tuple(one.descriptor for one in layers), {})
    store.layout.tag(name, store.layout.write(raw, MANIFEST_TYPE))


@dataclass
class Pull:
    """One kind of pull, measured several times.

    Attributes:
        seconds: Each time.
        sent: Bytes of blobs that came over the wire, the last time.
    """

    seconds: list[float] = field(default_factory=list)
    sent: int = 0


# What is pulled, of ours and of the usual way's.
FULL, READY, UPDATE = "full set, fetched and verified", "full set, ready to run", "another model, ready to run"
Pulls = dict[tuple[str, str], Pull]


def pull_times(work: Path, store: ImageStore, peer: Mapping[str, Peer]) -> Pulls:
    """Pull a full set, and a set of which one model changed, from a registry on loopback."""
    with registry(work / "registry") as host, HttpTransport(ca_file=None) as transport:
        session = Session(transport=transport, credentials=CredentialSource(()), plain_http=True)
        connection = Connection(session=session)
        usual = ImageStore(work / "peer")
        for name in NAMES:
            push(store, connection, name, Reference(Repository(host, f"ours/{name}"), "1"), tell)
            if peer:
                push(usual, connection, name, Reference(Repository(host, f"usual/{name}"), "1"), tell)
        change_model(work, store)
        push(store, connection, DETECTOR, Reference(Repository(host, f"ours/{DETECTOR}"), "2"), tell)
        if peer:
            change_topmost(work, usual)
            push(usual, connection, DETECTOR, Reference(Repository(host, f"usual/{DETECTOR}"), "2"), tell)
        pulls: Pulls = {}
        for _ in range(ROUNDS):
            with scratch(work) as folder:
                pull_all(folder, store, connection, host, pulls, usual=bool(peer))
        return pulls


def pull_all(folder: Path, store: ImageStore, connection: Connection, host: str, pulls: Pulls, *, usual: bool) -> None:
    """Each pull once, into fresh stores. Under a component's name an image is judged and unpacked, else only stored."""

    def timed_pull(whose: str, what: str, target: ImageStore, wanted: Mapping[str, str]) -> None:
        begun = time.perf_counter()
        moved = [pull(target, connection, parse_reference(f"{host}/{whose}/{one}"), name, tell)
                 for one, name in wanted.items()]  # fmt: skip
        measured = pulls.setdefault((whose, what), Pull())
        measured.seconds.append(time.perf_counter() - begun)
        measured.sent = sum(one.sent for one in moved)

    stored = {f"{name}:1": f"stored/{name}" for name in NAMES}
    timed_pull("ours", FULL, ImageStore(folder / "stored"), stored)
    ready = ImageStore(folder / "ready")
    shutil.copytree(store.root / "trust", ready.root / "trust")
    timed_pull("ours", READY, ready, {f"{name}:1": name for name in NAMES})
    timed_pull("ours", UPDATE, ready, {f"{DETECTOR}:2": DETECTOR})
    if usual:
        timed_pull("usual", FULL, ImageStore(folder / "usual"), stored)
        timed_pull("usual", UPDATE, ImageStore(folder / "usual"), {f"{DETECTOR}:2": "stored/2"})


def pull_table(pulls: Pulls) -> Iterator[str]:
    """One line for each kind of pull."""
    yield f"| Pull, median of {ROUNDS} (least to most) | MB sent | s | the usual way, MB | s |"
    yield "|---|---:|---:|---:|---:|"
    for what in (FULL, READY, UPDATE):
        cells = [cell for whose in ("ours", "usual") for cell in pull_cells(pulls.get((whose, what)))]
        yield f"| {what} | {' | '.join(cells)} |"


def pull_cells(measured: Pull | None) -> tuple[str, str]:
    """Megabytes and seconds; empty if it was not measured."""
    if measured is None:
        return "", ""
    seconds = measured.seconds
    return mb(measured.sent), f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def change_model(work: Path, store: ImageStore) -> None:
    """Let the detector's image have other weights, signed by the same key: one byte more in the model's folder."""
    opened = Opened.of(store, DETECTOR)
    number = next(index for index, one in enumerate(opened.manifest.layers) if MODEL_LABEL in one.annotations)
    with scratch(work) as root:
        shutil.copytree(store.layer(opened.config.diff_ids[number]), root / "tree", symlinks=True)
        weights = next((root / "tree").rglob("model.onnx"))
        weights.write_bytes(weights.read_bytes()[::-1])  # as incompressible as before
        packed = pack(root / "tree", store.layout)
    unpack_layer(store.layout, packed.descriptor, packed.diff_id, store.layers, Bounds())
    changed = replace(packed.descriptor, annotations=opened.manifest.layers[number].annotations)
    layers = (*opened.manifest.layers[:number], changed, *opened.manifest.layers[number + 1 :])
    config = msgspec.json.decode(opened.config.raw)
    config["rootfs"]["diff_ids"][number] = packed.diff_id.text
    described = store.layout.write(canonical(config), CONFIG_TYPE)
    raw = manifest_bytes(described, layers, opened.manifest.annotations)
    store.layout.tag(DETECTOR, store.layout.write(raw, MANIFEST_TYPE))
    endorse_built(store, [DETECTOR])


def change_topmost(work: Path, store: ImageStore) -> None:
    """The same for the usual way: what one Dockerfile's COPY of code and model makes anew."""
    opened = Opened.of(store, DETECTOR)
    with scratch(work) as root:
        unpacked = unpack_layer(
            store.layout, opened.manifest.layers[-1], opened.config.diff_ids[-1], root / "layers", Bounds()
        )
        weights = next(unpacked.rglob("model.onnx"))
        weights.write_bytes(weights.read_bytes()[::-1])
        packed = pack(unpacked, store.layout)
    below = zip(opened.manifest.layers[:-1], opened.config.diff_ids[:-1], strict=True)
    tag_image(store, DETECTOR, [*(Packed(descriptor=one, diff_id=diff_id) for one, diff_id in below), packed])


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry on loopback, without TLS; its address."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": host, "secret": "of the benchmark"},
    }
    (folder / "config.yml").write_text(msgspec.json.encode(settings).decode())  # JSON is YAML
    with (folder / "log").open("wb") as log:
        program = shutil.which("docker-registry") or "docker-registry"
        running = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(host.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.1)
        yield host
    finally:
        running.kill()
        running.wait()


def codename() -> str:
    """The suite of this machine's Debian."""
    fields = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text("utf-8").splitlines())
    return fields["VERSION_CODENAME"]


def relink(root: Path) -> None:
    """Our packing wants relative links; absolute ones are as long and say the same."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() and path.readlink().is_absolute():
            target = str(path.readlink())
            path.unlink()
            path.symlink_to("." + target.replace("..", ""))
        elif not (path.is_dir() or path.is_file() or path.is_symlink()):
            path.unlink()


def pip_layers(work: Path, layout: Layout, name: str) -> tuple[Packed, Packed]:
    """What `pip install` and `COPY` add for an image: its own layers, for each Dockerfile makes its own."""
    tell(f"the usual way: {name}")
    declared = [definition.layers()[layer] for layer in definition.image(name).layers]
    with scratch(work) as root:
        files = [str(definition.REQUIREMENTS / one.requirements) for one in declared if isinstance(one, WheelLayer)]
        install(files, root / SITE)
        packages = pack(root, layout)
    with scratch(work) as root:
        for one in declared:
            if isinstance(one, CodeLayer):
                for path, content in definition.code_files(one):
                    (root / SITE / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / SITE / path).write_bytes(content)
            if isinstance(one, ModelLayer):
                python = f"{sys.version_info.major}.{sys.version_info.minor}"
                install_model(one, python=python, architecture="amd64", root=root)
            if isinstance(one, OwnModelLayer):
                install_own_model(one, root=root)
        return packages, pack(root, layout)


def install(requirements: Sequence[str], target: Path) -> None:
    """What `pip install --no-cache-dir` leaves, bytecode included."""
    words = [word for file in requirements for word in ("-r", file)]
    argv = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--compile-bytecode"]
    subprocess.run([*argv, "--link-mode", "copy", "--target", str(target), *words], check=True)


@contextmanager
def scratch(work: Path) -> Iterator[Path]:
    """An empty folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
