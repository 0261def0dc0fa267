"""Images for another machine, run: an emulator executes their interpreter, codecs and inference.

QEMU's user-mode emulation comes from a newer Debian suite: 7.2 of Debian 12 ends in a fault where ONNX Runtime is
loaded. Walls are not tried here: the emulator does not pass every call on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from image_set import FOREIGN, NAMES
from newer_debian import unpacked_package

from veilbox.oci.image.build import foreign_tag
from veilbox.oci.image.merge import merged
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds, unpack_layer
from veilbox.oci.image.wire import parse_config, parse_manifest

pytestmark = [pytest.mark.sealed, pytest.mark.emulator]

# QEMU's words for OCI's.
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}


@dataclass(frozen=True)
class Emulated:
    """An image of another machine, and what executes it."""

    emulator: Path
    root: Path
    environment: dict[str, str]

    def python(self, script: str, *arguments: str | Path) -> str:
        """What a script prints, run by the image's interpreter with the image's modules."""
        argv = [self.emulator, self.root / "usr/bin/python3", "-s", "-S", "-P", "-c", script, *arguments]
        done = subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, timeout=300, check=False, cwd=self.root
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


@pytest.fixture(name="store")
def every_image(images: ImageStore) -> ImageStore:
    return images


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = unpacked_package(tmp_path_factory.mktemp("qemu"), "bookworm-backports", "qemu-user")
    if isinstance(root, str):
        pytest.skip(f"no qemu-user: {root}")
    return root / "usr/bin" / f"qemu-{MACHINES[FOREIGN]}"


def emulated(store: ImageStore, emulator: Path, name: str) -> Emulated:
    descriptor = store.layout.resolve(foreign_tag(name, FOREIGN))
    assert descriptor is not None
    manifest = parse_manifest(store.layout.read(descriptor))
    config = parse_config(store.layout.read(manifest.config))
    layers = [
        unpack_layer(store.layout, layer, diff_id, store.layers, Bounds())
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    ]
    root = merged(layers)
    said = dict(word.split("=", 1) for word in config.env)
    # The emulator looks there for absolute paths first; what is not there would be this machine's.
    inside = {"QEMU_LD_PREFIX": str(root), "PYTHONHOME": f"{root}/usr", "PYTHONPATH": f"{root}{said['PYTHONPATH']}"}
    return Emulated(emulator, root, said | inside)


LOAD = """\
import platform, sys
from veilbox.components.entry import load
load(sys.argv[1])
files = [getattr(one, "__file__", None) for one in sys.modules.values()]
print(platform.machine(), [file for file in files if file and not file.startswith(sys.argv[2])])
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_component_loads_with_everything_that_it_needs(store: ImageStore, emulator: Path, name: str) -> None:
    image = emulated(store, emulator, name)
    assert image.python(LOAD, name, image.root) == f"{MACHINES[FOREIGN]} []\n"


DETECT = """\
import json, sys
from pathlib import Path
import numpy as np
from veilbox.vision.detect import load_detector
detector = load_detector(Path(sys.argv[1]), threads=1)
found = detector.detect(np.load(sys.argv[2]))
print(json.dumps([[*map(float, box), float(score)] for box, score in zip(found.boxes, found.scores)]))
"""


def test_its_detector_finds_what_this_machine_s_finds(store: ImageStore, emulator: Path, tmp_path: Path) -> None:
    from skimage import data  # noqa: PLC0415 - slow to import

    np.save(tmp_path / "picture.npy", cast("Any", data).astronaut())
    image = emulated(store, emulator, "detect-centerface")
    arguments = (image.root / "models/centerface", tmp_path / "picture.npy")
    there = np.array(json.loads(image.python(DETECT, *arguments)))
    here = np.array(json.loads(subprocess.check_output([sys.executable, "-c", DETECT, *arguments], text=True)))
    assert len(here) >= 1
    # Sums in another order: hundredths of a pixel.
    np.testing.assert_allclose(there, here, atol=0.05)


DECODE = """\
import hashlib, sys
import av
digest = hashlib.sha256()
with av.open(sys.argv[1]) as container:
    for frame in container.decode(video=0):
        digest.update(frame.to_ndarray().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("name", ["ingest", "verify"])
def test_its_decoder_gives_the_same_samples(store: ImageStore, emulator: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        noise = np.random.default_rng(7)
        for _ in range(12):
            picture = noise.integers(0, 256, (180, 320, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    there = emulated(store, emulator, name).python(DECODE, path)
    here = subprocess.check_output([sys.executable, "-c", DECODE, path], text=True, env={"PATH": os.environ["PATH"]})
    assert there == here
