"""Mirrors: other places to read from, tried before the registry that a reference names.

A mirror is believed nothing: content is asked of it by digest and verified. Only where the administrator says so does
it tell what a tag stands for, as a site without a way out needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, RegistryUnavailable, UsageError
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.registry.client import RepositoryClient
from veilbox.oci.registry.content import Bytes
from veilbox.oci.registry.reference import Repository, parse_repository

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirror:
    """One mirror.

    Attributes:
        prefix: What it mirrors: a registry, or a path in one, by whole components.
        location: What stands in place of the prefix.
        tags: Whether it may say what a tag stands for.
    """

    prefix: str
    location: str
    tags: bool = False

    def of(self, repository: Repository) -> Repository | None:
        """Where the mirror has a repository, or None if it is not mirrored.

        Raises:
            UsageError: The location makes no repository.
        """
        rest = str(repository).removeprefix(self.prefix)
        if rest == str(repository) or rest[:1] not in {"", "/"}:
            return None
        return parse_repository(self.location + rest)


class _Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prefix: str
    location: str
    tags: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mirror: list[_Mirror] = []


def read_mirrors(path: Path) -> tuple[Mirror, ...]:
    """The mirrors of `registries.toml`; none if there is no such file.

    Raises:
        UsageError: The file is not what docs/reference/registries.md says.
    """
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return ()
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError("mirrors cannot be read", where=str(path), actual=str(error)) from error
    mirrors = tuple(
        Mirror(prefix=one.prefix.rstrip("/"), location=one.location.rstrip("/"), tags=one.tags) for one in file.mirror
    )
    for mirror in mirrors:
        if not mirror.prefix or not mirror.location:
            raise UsageError("mirror without prefix or location", where=str(path))
    return mirrors


class MirroredSource:
    """A repository with its mirrors, as one source.

    Args:
        primary: The repository that was named.
        mirrors: Clients of its mirrors, each with whether it may resolve tags, in order.
    """

    def __init__(self, primary: RepositoryClient, mirrors: tuple[tuple[RepositoryClient, bool], ...]) -> None:
        self._everyone = (*(client for client, _ in mirrors), primary)
        self._resolvers = (*(client for client, tags in mirrors if tags), primary)
        self._silent: dict[Repository, RegistryUnavailable] = {}

    def resolve(self, name: str) -> Descriptor | None:
        """See `Source.resolve`: the first that has it, of those that may say.

        That it is nowhere is believed of those that answer: a site without a way out cannot ask the others.
        """
        failures: list[ImageError] = []
        asked = self._everyone if name.startswith("sha256:") else self._resolvers
        for client in asked:
            try:
                found = self._ask(client, partial(client.resolve, name))
            except ImageError as error:
                failures.append(error)
            else:
                if found is not None:
                    return found
        serious = [error for error in failures if not isinstance(error, RegistryUnavailable)]
        if serious or len(failures) == len(asked):
            raise (serious or failures)[-1]
        return None

    def document(self, descriptor: Descriptor) -> bytes:
        """See `Source.document`."""
        failures: list[ImageError] = []
        for client in self._everyone:
            try:
                return self._ask(client, partial(client.document, descriptor))
            except ImageError as error:
                failures.append(error)
        raise failures[-1]

    def blob(self, descriptor: Descriptor) -> tuple[Bytes, ...]:
        """See `Source.blob`."""
        return tuple(read for client in self._everyone for read in client.blob(descriptor))

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """See `Source.referrers`: what any of them knows; a mirror may lack what was attached later."""
        found: dict[Digest, Descriptor] = {}
        failures: list[ImageError] = []
        for client in self._everyone:
            try:
                found |= {one.digest: one for one in self._ask(client, partial(client.referrers, subject))}
            except ImageError as error:
                failures.append(error)
        if len(failures) == len(self._everyone):
            raise failures[-1]
        return tuple(found.values())

    def _ask(self, client: RepositoryClient, question: Callable[[], _Result]) -> _Result:
        """Ask a client; one that could not be reached is not asked for documents again: others may know."""
        if client.repository in self._silent:
            raise self._silent[client.repository]
        try:
            return question()
        except RegistryUnavailable as error:
            self._silent[client.repository] = error
            raise
