"""`make image-table`: size of every image and layer, what is shared, build times, beside images made the usual way.

The usual way is what a Dockerfile on a slim Python image gives: Debian's minbase with Python, certificates and zones,
`pip install` of the same locked packages, our code, the model. Its layers are compressed as ours are (gzip 6), and
its base is counted once for all images. `mmdebstrap` makes the base; without it the column stays empty.

Builds run in a fresh store: cold (nothing in it; uv's own cache of wheels stays) and warm (again). Prints Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uv

from veilbox.oci.image import definition
from veilbox.oci.image.build import Built, build
from veilbox.oci.image.compression import Compression
from veilbox.oci.image.definition import CodeLayer, ModelLayer, WheelLayer
from veilbox.oci.image.layer import pack
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.model import install_model
from veilbox.oci.image.store import ImageStore

NAMES = definition.image_names()
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
        peer = {} if arguments.no_peer or shutil.which("mmdebstrap") is None else usual_way(work)
    sys.stdout.write("\n".join([*layer_table(gzip, zstd), "", *image_table(gzip, zstd, peer)]) + "\n")
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


def usual_way(work: Path) -> dict[str, int]:
    """Sizes of images with the same content on a slim Debian, and of all of them with the base counted once."""
    layout = Layout(work / "peer")
    base = work / "minbase"
    tell("the usual way: a minimal Debian")
    words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(MINBASE)}", codename(), str(base)]
    subprocess.run(words, check=True)
    shutil.rmtree(base / "dev")  # a container gets its own
    # What slim images remove.
    for folder in ("var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(base / folder, ignore_errors=True)
    relink(base)
    below = pack(base, layout).descriptor.size
    upper = {name: pip_layers(work, layout, name) for name in NAMES}
    return {name: below + size for name, size in upper.items()} | {"all": below + sum(upper.values())}


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


def pip_layers(work: Path, layout: Layout, name: str) -> int:
    """What `pip install` and `COPY` add for an image: its own layers, for each Dockerfile makes its own."""
    tell(f"the usual way: {name}")
    declared = [definition.layers()[layer] for layer in definition.image(name).layers]
    with scratch(work) as root:
        files = [str(definition.REQUIREMENTS / one.requirements) for one in declared if isinstance(one, WheelLayer)]
        install(files, root / SITE)
        size = pack(root, layout).descriptor.size
    with scratch(work) as root:
        for one in declared:
            if isinstance(one, CodeLayer):
                for path, content in definition.code_files(one):
                    (root / SITE / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / SITE / path).write_bytes(content)
            if isinstance(one, ModelLayer):
                python = f"{sys.version_info.major}.{sys.version_info.minor}"
                install_model(one, python=python, architecture="amd64", root=root)
        return size + pack(root, layout).descriptor.size


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
