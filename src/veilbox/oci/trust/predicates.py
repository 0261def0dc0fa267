"""Kinds of attestations, by the address that in-toto gives them, and what is read from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from veilbox.core.errors import ImageError
from veilbox.oci.trust.dsse import Statement
from veilbox.oci.trust.policy import Attestation

CYCLONEDX: Final = "https://cyclonedx.org/bom"
SPDX: Final = "https://spdx.dev/Document"
SLSA: Final = "https://slsa.dev/provenance/v1"

KINDS: Mapping[str, Attestation] = MappingProxyType(
    {CYCLONEDX: Attestation.SBOM, SPDX: Attestation.SBOM, SLSA: Attestation.PROVENANCE}
)


class _Component(msgspec.Struct, frozen=True):
    name: str
    purl: str = ""


class _CycloneDx(msgspec.Struct, frozen=True):
    components: list[_Component] = []


class _Reference(msgspec.Struct, frozen=True):
    locator: str = msgspec.field(name="referenceLocator", default="")


class _Package(msgspec.Struct, frozen=True):
    name: str
    references: list[_Reference] = msgspec.field(name="externalRefs", default_factory=list)


class _Spdx(msgspec.Struct, frozen=True):
    packages: list[_Package] = []


def package_names(statement: Statement) -> Iterator[str]:
    """Names and addresses (purl) of all packages that an SBOM lists; nothing for other statements.

    Raises:
        ImageError: The SBOM is unreadable: what is in the image is then unknown.
    """
    try:
        if statement.predicate_type == CYCLONEDX:
            for component in msgspec.json.decode(statement.predicate, type=_CycloneDx).components:
                yield component.name
                yield component.purl
        elif statement.predicate_type == SPDX:
            for package in msgspec.json.decode(statement.predicate, type=_Spdx).packages:
                yield package.name
                yield from (reference.locator for reference in package.references)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImageError("SBOM is unreadable", actual=str(error)) from error
