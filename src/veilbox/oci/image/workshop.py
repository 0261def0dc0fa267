"""Where layers and images of one architecture are made, each layer at most once in a build."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import veilbox
from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image import debian, definition
from veilbox.oci.image.bytecode import compile_tree, python_version
from veilbox.oci.image.compression import Compression
from veilbox.oci.image.definition import CodeLayer, DebianLayer, Layer, OwnModelLayer, WheelLayer
from veilbox.oci.image.elf import check_interpreter, check_machine
from veilbox.oci.image.layer import CREATED, pack, recompress
from veilbox.oci.image.layer_cache import LayerCache, Record
from veilbox.oci.image.locks import Choice, Lock, LockBook, changes, distribution
from veilbox.oci.image.model import install_model, install_own_model, model_digest
from veilbox.oci.image.spec import (
    CONFIG_TYPE,
    LAYER_NAME,
    LOCK_LABEL,
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
        architecture: For which machines.
        manifest: What the layout has of it.
        layers: Bottom first.
        rebuilt: Whether its tag stood for another manifest before.
    """

    name: str
    architecture: str
    descriptor: Descriptor
    layers: tuple[BuiltLayer, ...]
    rebuilt: bool

    @property
    def manifest(self) -> Digest:
        """The digest of its manifest."""
        return self.descriptor.digest


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    name: str
    record: Record
    folder: Path
    reused: bool


@dataclass(kw_only=True)
class Workshop:
    """One build for one architecture.

    Attributes:
        store: Where everything goes.
        progress: Told about each step that takes time.
        choice: Which Debian packages it takes.
        compression: How its layers are compressed.
        architecture: For which machines.
        native: The workshop for this very machine, whose Python compiles for others; None if this is it.
    """

    store: ImageStore
    progress: Progress
    choice: Choice
    compression: Compression
    architecture: str
    native: Workshop | None = None
    _made: dict[str, _Made] = field(default_factory=dict)

    def image(self, name: str, image: definition.Image, tag: str) -> Built:
        """Make an image and let `tag` stand for it."""
        layers = [self.layer(layer) for layer in image.layers]
        platform = Platform(architecture=self.architecture)
        config = self.store.layout.write(self._config(name, image, layers), CONFIG_TYPE)
        annotations = {TITLE: image.title, RECIPE_LABEL: definition.recipe(name).text}
        raw = manifest_bytes(config, tuple(_described(made) for made in layers), annotations)
        manifest = replace(self.store.layout.write(raw, MANIFEST_TYPE), platform=platform)
        before = self.store.layout.resolve(tag)
        rebuilt = before is None or before.digest != manifest.digest
        if rebuilt:
            self.store.layout.tag(tag, manifest)
        built = tuple(_built(made) for made in layers)
        return Built(name=name, architecture=self.architecture, descriptor=manifest, layers=built, rebuilt=rebuilt)

    def layer(self, name: str) -> _Made:
        """Make a layer, or take it from the store."""
        if name not in self._made:
            self._made[name] = self._layer(name, definition.layers()[name])
        return self._made[name]

    def _layer(self, name: str, layer: Layer) -> _Made:
        key = self._key(name, layer)
        record = self._cache.get(key, self.compression)
        reused = record is not None
        if record is None:
            record = self._recompressed(key) or self._make(name, layer)
            self._cache.put(key, record)
        folder = self._unpacked(record) if self.native is None or name == BASE else Path()
        return _Made(name=name, record=record, folder=folder, reused=reused)

    def _unpacked(self, record: Record) -> Path:
        packed = record.packed()
        return unpack_layer(self.store.layout, packed.descriptor, packed.diff_id, self.store.layers, Bounds())

    def _recompressed(self, key: Digest) -> Record | None:
        """The layer from its blob in another compression, if there is one: the tar is the same."""
        records = (self._cache.get(key, other) for other in Compression if other is not self.compression)
        found = next((record for record in records if record is not None), None)
        if found is None:
            return None
        return Record.of(recompress(found.packed(), self.store.layout, self.compression), model=found.model)

    def _key(self, name: str, layer: Layer) -> Digest:
        below = self.lock.digest.text if isinstance(layer, DebianLayer) else self.python
        return Digest.of(canonical([definition.layer_inputs(name).text, self.architecture, below]))

    @property
    def _cache(self) -> LayerCache:
        return LayerCache(folder=self.store.cache / "layers", layout=self.store.layout)

    @property
    def base(self) -> Path:
        """The unpacked base."""
        return self.layer(BASE).folder

    @property
    def python(self) -> str:
        """The version of the images' Python."""
        return python_version(self.base)

    @cached_property
    def _apt(self) -> debian.Apt:
        """The package manager, with fresh lists."""
        folder = "apt" if self.native is None else f"apt-{self.architecture}"
        apt = debian.Apt(self.store.cache / folder, self.architecture)
        self.progress(f"base: asking apt for the package lists ({self.architecture})")
        apt.update()
        return apt

    @cached_property
    def lock(self) -> Lock:
        """Which Debian packages this build follows.

        Raises:
            MachineError: The package sources no longer offer them, and nothing else was asked for.
        """
        book = LockBook(own=self.store.root / "lock")
        current = book.current(f"{distribution()}-{self.architecture}")
        if self.choice is Choice.NEWEST:
            return self._renewed(book, current)
        if current is None:
            self.progress(f"base: veilbox has no lock for {distribution()}-{self.architecture}")
            return self._renewed(book, current)
        gone = () if self._fetched(current) else debian.require_offered(self._apt, _packages(current))
        if not gone:
            return current
        if self.choice is Choice.NEWER_IF_GONE:
            self.progress(f"base: no longer offered: {' '.join(gone)}")
            return self._renewed(book, current)
        raise _gone(current, gone)

    def _fetched(self, lock: Lock) -> bool:
        """Whether apt need not be asked: the base is made, or its packages are here."""
        inputs = [definition.layer_inputs(BASE).text, self.architecture, lock.digest.text]
        key = Digest.of(canonical(inputs))
        if any(self._cache.get(key, compression) for compression in Compression):
            return True
        return all(debian.deb_path(self._debs, package).exists() for package in _packages(lock))

    def _renewed(self, book: LockBook, before: Lock | None) -> Lock:
        """This machine's own lock, of what apt offers now."""
        layer = definition.layers()[BASE]
        if not isinstance(layer, DebianLayer):
            raise TypeError(layer)
        lock = Lock.of(debian.resolve(self._apt, layer), distribution(), self.architecture)
        for line in changes(before, lock):
            self.progress(f"base: {line}")
        book.keep(lock)
        if book.is_own(lock):
            self.progress("base: following a lock of this machine's own, so digests are this machine's own too")
        return book.current(lock.name) or lock

    @property
    def _debs(self) -> Path:
        return self.store.cache / "debs"

    def _make(self, name: str, layer: Layer) -> Record:
        self.progress(f"{name}: building")
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
                if isinstance(layer, OwnModelLayer):
                    install_own_model(layer, root=root)
                else:
                    install_model(layer, python=self.python, architecture=self.architecture, root=root)
                return self._packed(root, model=model_digest(layer, root).text)
            compile_tree(self._compiler(self.base), root)
            return self._packed(root)

    def _make_base(self, layer: DebianLayer, root: Path) -> Record:
        base = self.lock.base
        packages = (*base.whole, *base.partial)
        if not all(debian.deb_path(self._debs, package).exists() for package in packages):
            self.progress(f"base: fetching {len(base.whole)} Debian packages")
            self._apt.fetch(packages, self._debs)
        self.progress("base: unpacking and compiling")
        debian.assemble(layer, base, self._debs, root)
        compile_tree(self._compiler(root), root)
        check_interpreter(root, f"usr/bin/python{python_version(root)}")
        return self._packed(root)

    def _compiler(self, own: Path) -> Path:
        """The base whose Python compiles: bytecode is the same for all machines, programs are not."""
        if self.native is None:
            return own
        if self.native.python != python_version(own):
            raise ImageError(
                "bases of two architectures have different Pythons",
                where=self.architecture,
                expected=self.native.python,
                actual=python_version(own),
                advice="Renew both locks with `veilbox image lock`",
            )
        return self.native.base

    def _packed(self, root: Path, *, model: str = "") -> Record:
        check_machine(root, self.architecture)
        packed = pack(root, self.store.layout, executables=_EXECUTABLES, compression=self.compression)
        return Record.of(packed, model=model)

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        folder = self.store.cache / "staging"
        shutil.rmtree(folder, ignore_errors=True)  # what a killed build left; the lock says that nobody else is here
        folder.mkdir()
        try:
            yield Path(tempfile.mkdtemp(dir=folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _config(self, name: str, image: definition.Image, layers: Sequence[_Made]) -> bytes:
        platform = Platform(architecture=self.architecture)
        document: dict[str, Any] = {
            "created": CREATED,
            "architecture": platform.architecture,
            "os": platform.os,
            "config": {
                "User": image.user,
                "Env": [f"{key}={value}" for key, value in image.env.items()],
                "Entrypoint": list(image.entrypoint),
                "WorkingDir": "/",
                "Labels": {**_labels(name, image, layers), LOCK_LABEL: f"{self.lock.name}@{self.lock.digest}"},
            },
            "rootfs": {"type": "layers", "diff_ids": [made.record.diff_id for made in layers]},
            "history": [{"created": CREATED, "created_by": f"veilbox layer {made.name}"} for made in layers],
        }
        return canonical(document)


def _packages(lock: Lock) -> tuple[debian.Package, ...]:
    return (*lock.base.whole, *lock.base.partial)


def _gone(lock: Lock, gone: Sequence[str]) -> MachineError:
    return MachineError(
        "package sources no longer offer what the lock names",
        where=lock.name,
        expected=" ".join(gone),
        advice="Build from what they offer now with `veilbox image build --refresh`, or renew the lock for all with "
        "`veilbox image lock`",
    )


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
