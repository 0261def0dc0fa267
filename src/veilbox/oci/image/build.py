"""Component images, built on this machine into the store's layout.

A layer is cached under a key that covers all that decides about its bytes; its blob and its unpacked folder stand
under their own digests. Nothing is trusted for being in the cache: a blob is verified whenever it is read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

import veilbox
from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image import debian, definition
from veilbox.oci.image.bytecode import compile_tree, python_version
from veilbox.oci.image.definition import CodeLayer, DebianLayer, Layer, WheelLayer
from veilbox.oci.image.layer import CREATED, Packed, pack
from veilbox.oci.image.layout import durable_rename, locked
from veilbox.oci.image.model import install_model, model_digest
from veilbox.oci.image.spec import (
    CONFIG_TYPE,
    LAYER_NAME,
    LAYER_TYPE,
    MANIFEST_TYPE,
    MODEL_LABEL,
    RECIPE_LABEL,
    TITLE,
    Descriptor,
    Platform,
)
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds, unpack_layer
from veilbox.oci.image.wheels import SITE_PACKAGES, install_wheels
from veilbox.oci.image.wire import canonical, manifest_bytes

BASE = "base"

# The only files that may be run: the interpreter and the loader that the kernel starts for it.
_EXECUTABLES = ("usr/bin/python3*", "usr/lib/*-linux-gnu/ld-linux-*.so.*")

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltLayer:
    """One layer of a built image.

    Attributes:
        name: Its name in the declarations.
        digest: Of the blob.
        diff_id: Of the tar in it.
        size: Of the blob, bytes.
        reused: Whether it was there before.
    """

    name: str
    digest: Digest
    diff_id: Digest
    size: int
    reused: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """One built image.

    Attributes:
        name: The image's name.
        manifest: Its digest.
        layers: Bottom first.
        rebuilt: Whether the name stood for another manifest before.
    """

    name: str
    manifest: Digest
    layers: tuple[BuiltLayer, ...]
    rebuilt: bool


def build(store: ImageStore, names: Sequence[str], progress: Progress, *, refresh: bool = False) -> list[Built]:
    """Build images; what did not change is taken from the store without asking the network.

    Args:
        store: Where they go.
        names: Which; see `definition.image_names`.
        progress: Told about each step that takes time, as a line for people.
        refresh: Ask apt again which Debian packages there are (security updates).

    Returns:
        One result for each name, in their order.

    Raises:
        UsageError: There is no image of a name.
        MachineError: This machine lacks a program, the network, or space.
        ImageError: Something that arrived is not what it must be.
    """
    declared = {name: definition.image(name) for name in names}
    store.prepare()
    with locked(store.root / ".build.lock"), _translated(store):
        store.sweep()
        workshop = _Workshop(store=store, progress=progress, refresh=refresh)
        return [workshop.image(name, image) for name, image in declared.items()]


@contextmanager
def _translated(store: ImageStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(
            "images cannot be stored",
            where=str(error.filename or store.root),
            actual=error.strerror or str(error),
            advice="Make room, or set VEILBOX_HOME to a folder that you may write",
        ) from error


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the cache remembers of a layer."""

    digest: str
    diff_id: str
    size: int
    model: str = ""

    def packed(self) -> Packed:
        descriptor = Descriptor(media_type=LAYER_TYPE, digest=Digest(self.digest), size=self.size)
        return Packed(descriptor=descriptor, diff_id=Digest(self.diff_id))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    name: str
    record: _Record
    folder: Path
    reused: bool


@dataclass(kw_only=True)
class _Workshop:
    """One build: makes each layer at most once."""

    store: ImageStore
    progress: Progress
    refresh: bool
    architecture: str = field(default_factory=debian.host_architecture)
    made: dict[str, _Made] = field(default_factory=dict)

    def image(self, name: str, image: definition.Image) -> Built:
        layers = [self.layer(layer) for layer in image.layers]
        platform = Platform(architecture=self.architecture)
        config = self.store.layout.write(_config(name, image, layers, platform), CONFIG_TYPE)
        annotations = {TITLE: image.title, RECIPE_LABEL: definition.recipe(name).text}
        raw = manifest_bytes(config, tuple(_described(made) for made in layers), annotations)
        manifest = replace(self.store.layout.write(raw, MANIFEST_TYPE), platform=platform)
        before = self.store.layout.resolve(name)
        rebuilt = before is None or before.digest != manifest.digest
        if rebuilt:
            self.store.layout.tag(name, manifest)
        built = tuple(_built(made) for made in layers)
        return Built(name=name, manifest=manifest.digest, layers=built, rebuilt=rebuilt)

    def layer(self, name: str) -> _Made:
        if name not in self.made:
            self.made[name] = self._layer(name, definition.layers()[name])
        return self.made[name]

    def _layer(self, name: str, layer: Layer) -> _Made:
        key = self._key(name, layer)
        fresh = self.refresh and isinstance(layer, DebianLayer)
        record = None if fresh else self._cached(key)
        reused = record is not None
        if record is None:
            self.progress(f"{name}: building")
            record = self._make(name, layer)
            self._remember(key, record)
        packed = record.packed()
        folder = unpack_layer(self.store.layout, packed.descriptor, packed.diff_id, self.store.layers, Bounds())
        return _Made(name=name, record=record, folder=folder, reused=reused)

    def _key(self, name: str, layer: Layer) -> Digest:
        python = "" if isinstance(layer, DebianLayer) else self.python
        return Digest.of(canonical([definition.layer_inputs(name).text, self.architecture, python]))

    @property
    def base(self) -> Path:
        return self.layer(BASE).folder

    @property
    def python(self) -> str:
        return python_version(self.base)

    def _make(self, name: str, layer: Layer) -> _Record:
        with self._staging() as root:
            if isinstance(layer, DebianLayer):
                return self._make_base(layer, root)
            if isinstance(layer, WheelLayer):
                self.progress(f"{name}: installing wheels of {layer.requirements}")
                install_wheels(layer, python=self.python, architecture=self.architecture, root=root)
            elif isinstance(layer, CodeLayer):
                _copy_code(layer, root)
            else:
                self.progress(f"{name}: preparing the model")
                install_model(layer, python=self.python, architecture=self.architecture, root=root)
                return self._packed(root, model=model_digest(layer, root).text)
            compile_tree(self.base, root)
            return self._packed(root)

    def _make_base(self, layer: DebianLayer, root: Path) -> _Record:
        apt = debian.Apt(self.store.cache / "apt", self.architecture)
        self.progress("base: asking apt for the package lists")
        apt.update()
        base = debian.resolve(apt, layer)
        key = Digest.of(canonical([definition.layer_inputs(BASE).text, self.architecture, debian.document(base)]))
        record = self._cached(key)
        if record is None:
            debs = self.store.cache / "debs"
            self.progress(f"base: fetching {len(base.whole)} Debian packages")
            apt.fetch((*base.whole, *base.partial), debs)
            self.progress("base: unpacking and compiling")
            debian.assemble(layer, base, debs, root)
            compile_tree(root, root)
            record = self._packed(root)
            self._remember(key, record)
        return record

    def _packed(self, root: Path, *, model: str = "") -> _Record:
        packed = pack(root, self.store.layout, executables=_EXECUTABLES)
        return _Record(
            digest=packed.descriptor.digest.text,
            diff_id=packed.diff_id.text,
            size=packed.descriptor.size,
            model=model,
        )

    def _cached(self, key: Digest) -> _Record | None:
        try:
            record = msgspec.json.decode(self._record_path(key).read_bytes(), type=_Record)
            there = self.store.layout.has(record.packed().descriptor)
        except (FileNotFoundError, msgspec.DecodeError, ImageError):
            return None  # a cache: what is not there or not readable is made again
        return record if there else None

    def _remember(self, key: Digest, record: _Record) -> None:
        path = self._record_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.write_bytes(canonical(record))
        durable_rename(unfinished, path)

    def _record_path(self, key: Digest) -> Path:
        return self.store.cache / "layers" / f"{key.hex}.json"

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        folder = self.store.cache / "staging"
        shutil.rmtree(folder, ignore_errors=True)  # what a killed build left; the lock says that nobody else is here
        folder.mkdir()
        try:
            yield Path(tempfile.mkdtemp(dir=folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _copy_code(layer: CodeLayer, root: Path) -> None:
    for name, content in definition.code_files(layer):
        target = root / SITE_PACKAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _described(made: _Made) -> Descriptor:
    notes = {LAYER_NAME: made.name} | ({MODEL_LABEL: made.record.model} if made.record.model else {})
    return replace(made.record.packed().descriptor, annotations=notes)


def _built(made: _Made) -> BuiltLayer:
    packed = made.record.packed()
    return BuiltLayer(
        name=made.name,
        digest=packed.descriptor.digest,
        diff_id=packed.diff_id,
        size=packed.descriptor.size,
        reused=made.reused,
    )


def _config(name: str, image: definition.Image, layers: Sequence[_Made], platform: Platform) -> bytes:
    document: dict[str, Any] = {
        "created": CREATED,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {
            "User": image.user,
            "Env": [f"{key}={value}" for key, value in image.env.items()],
            "Entrypoint": list(image.entrypoint),
            "WorkingDir": "/",
            "Labels": _labels(name, image, layers),
        },
        "rootfs": {"type": "layers", "diff_ids": [made.record.diff_id for made in layers]},
        "history": [{"created": CREATED, "created_by": f"veilbox layer {made.name}"} for made in layers],
    }
    return canonical(document)


def _labels(name: str, image: definition.Image, layers: Sequence[_Made]) -> Mapping[str, str]:
    models = [(MODEL_LABEL, made.record.model) for made in layers if made.record.model]
    return {
        **image.labels,
        TITLE: image.title,
        "org.opencontainers.image.description": image.description,
        "org.opencontainers.image.version": veilbox.__version__,
        RECIPE_LABEL: definition.recipe(name).text,
        **dict(models),
    }
