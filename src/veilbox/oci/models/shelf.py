"""Which models a store holds, and which of each is in use.

A version is a named entry of the store's index, `model-NAME@DIGEST`, so that it is kept, counted, saved and pushed as
images are. Which one jobs take stands in one small file that is replaced as a whole; what was chosen before stays in
it, so that one step leads back.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError, UsageError
from veilbox.oci.image.layout import durable_rename, locked
from veilbox.oci.image.spec import REF_NAME, Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import canonical
from veilbox.oci.models.artifact import model_name
from veilbox.oci.models.card import NAME

_TAG = re.compile(rf"model-(?P<name>{NAME.pattern})@(?P<digest>sha256:[0-9a-f]{{64}})", re.ASCII)
_HISTORY = 32
_History = Annotated[list[str], msgspec.Meta(min_length=1)]
# In place of a digest: what the detector's image carries.
IMAGE = ""


def tag_of(name: str, version: Digest) -> str:
    """A version's name in the store's index."""
    return f"{model_name(name)}@{version}"


def tagged(entry: str) -> tuple[str, Digest] | None:
    """The model and version that an entry of the index is, or None if it is something else."""
    match = _TAG.fullmatch(entry)
    return (match["name"], Digest(match["digest"])) if match else None


def held(store: ImageStore) -> dict[tuple[str, Digest], Descriptor]:
    """Every version that a store holds, by model and digest, sorted.

    Raises:
        ImageError: The index is unreadable, or an entry stands under another's digest.
    """
    found: dict[tuple[str, Digest], Descriptor] = {}
    for entry in store.layout.index():
        key = tagged(entry.annotations.get(REF_NAME, ""))
        if key is not None:
            if key[1] != entry.digest or key in found:
                raise ImageError("a model stands under another's name", where=tag_of(*key), actual=entry.digest.text)
            found[key] = entry
    return dict(sorted(found.items(), key=lambda one: (one[0][0], one[0][1].text)))


def find(store: ImageStore, text: str) -> tuple[str, Descriptor]:
    """The version that `NAME@DIGEST` or `NAME` means; a digest may be cut to twelve digits or more.

    Args:
        store: Where it is.
        text: A name alone means the version in use, or the only one.

    Raises:
        UsageError: There is none, or more than one.
    """
    name, _, wanted = text.partition("@")
    versions = {digest: entry for (model, digest), entry in held(store).items() if model == name}
    if wanted:
        fitting = [digest for digest in versions if _means(wanted, digest)]
    else:
        current = ModelChoices(store.root).current(name)
        fitting = [current] if current in versions else list(versions)
    if len(fitting) != 1:
        raise UsageError(
            "no such model here" if not fitting else "more than one version of this model",
            where=text,
            expected=", ".join(f"{name}@{digest}" for digest in versions) or "one that `veilbox model list` prints",
            advice="Add it with `veilbox model add`, or pull it" if not fitting else "Say which",
        )
    return name, versions[fitting[0]]


_LEAST_DIGITS = 12


def _means(wanted: str, digest: Digest) -> bool:
    digits = wanted.removeprefix("sha256:")
    return len(digits) >= _LEAST_DIGITS and digest.hex.startswith(digits)


class ModelChoices:
    """The file of what is in use.

    Args:
        root: The store's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "models"
        self._path = self._folder / "in-use.json"

    def current(self, name: str) -> Digest | None:
        """The version in use, or None for what the detector's image carries.

        Raises:
            ImageError: The file is damaged: then nobody knows what was chosen.
        """
        chosen = self._read().get(name, [IMAGE])[-1]
        return Digest(chosen) if chosen else None

    def choose(self, name: str, version: Digest | None) -> None:
        """Let a version be in use; None goes back to what the image carries.

        Raises:
            ImageError: The file is damaged.
            MachineError: It cannot be written.
        """

        def chosen(history: list[str]) -> list[str]:
            text = version.text if version else IMAGE
            return history if history[-1] == text else [*history, text][-_HISTORY:]

        with self._locked():
            choices = dict(self._read())
            self._write({**choices, name: chosen(choices.get(name, [IMAGE]))})

    def before(self, name: str) -> Digest | None:
        """What was in use before, None for what the image carries.

        Raises:
            UsageError: Nothing was.
            ImageError: The file is damaged.
        """
        history = self._read().get(name, [IMAGE])
        if len(history) < 2:
            raise UsageError("nothing was in use before", where=name, advice="See `veilbox model list`")
        return Digest(history[-2]) if history[-2] else None

    def roll_back(self, name: str) -> None:
        """Let what was in use before be in use again.

        Raises:
            UsageError: Nothing was.
            ImageError: The file is damaged.
            MachineError: It cannot be written.
        """
        with self._locked():
            self.before(name)
            choices = dict(self._read())
            self._write({**choices, name: choices[name][:-1]})

    def _read(self) -> Mapping[str, list[str]]:
        try:
            choices = msgspec.json.decode(self._path.read_bytes(), type=dict[str, _History])
            for text in {text for history in choices.values() for text in history if text}:
                Digest(text)
        except FileNotFoundError:
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError, ImageError) as error:
            raise ImageError(
                "the list of models in use is damaged",
                where=str(self._path),
                actual=str(error),
                advice="Remove it, and choose again with `veilbox model use`",
            ) from error
        return choices

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            with locked(self._folder / ".lock"):
                yield
        except OSError as error:
            raise MachineError(
                "which models are in use cannot be noted",
                where=str(self._folder),
                actual=error.strerror or str(error),
                advice="Choose as the user who owns the store",
            ) from error

    def _write(self, choices: Mapping[str, list[str]]) -> None:
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".new-", delete=False) as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(canonical(choices))
            file.flush()
            os.fsync(file.fileno())
        durable_rename(Path(file.name), self._path)
