"""What is in an image, for other programs: CycloneDX 1.6 and SPDX 2.3, the same bytes for the same image every time.

Time and serial number come from the image, not from the clock and the dice. A licence that is a valid SPDX expression
is written as one; anything else that a part says of itself is kept as its words.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

import veilbox
from veilbox.core.digest import Digest
from veilbox.oci.image.layer import SOURCE_DATE_EPOCH
from veilbox.oci.image.wire import canonical
from veilbox.oci.trust.contents import Contents, Part, Source

CYCLONEDX_TYPE = "application/vnd.cyclonedx+json"
SPDX_TYPE = "text/spdx+json"

_NAMESPACE = uuid.UUID("6f1f6c0e-6d0f-5c86-9f0b-8f3a8d2c7c11")  # ours, drawn once
_CREATED = datetime.fromtimestamp(SOURCE_DATE_EPOCH, UTC)
_KINDS = {Source.DEB: "Debian package", Source.PYPI: "Python package", Source.MODEL: "machine learning model"}


def cyclonedx(contents: Contents) -> bytes:
    """The image's SBOM in CycloneDX 1.6, canonical JSON."""
    from cyclonedx.model import HashAlgorithm, HashType, Property  # noqa: PLC0415 - a build's business, not a job's
    from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.model.tool import ToolRepository  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    def component(part: Part) -> Component:
        model = part.source is Source.MODEL
        return Component(
            type=ComponentType.MACHINE_LEARNING_MODEL if model else ComponentType.LIBRARY,
            name=part.name,
            version=part.version or None,
            bom_ref=part.purl,
            purl=PackageURL.from_string(part.purl),
            licenses=_cyclonedx_licences(part.licences),
            # Of packages only a part is in the image: their files' digests are the provenance's.
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=Digest(part.digest).hex)] if model else None,
            properties=[Property(name="veilbox:origin", value=part.origin)] if part.origin else None,
        )

    image = Component(
        type=ComponentType.CONTAINER,
        name=contents.name,
        version=contents.version or None,
        bom_ref=contents.manifest.text,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=contents.manifest.hex)],
        licenses=_cyclonedx_licences(contents.licences),
    )
    tool = Component(type=ComponentType.APPLICATION, name="veilbox", version=veilbox.__version__, bom_ref="veilbox")
    parts = [component(part) for part in contents.parts]
    bom = Bom(
        serial_number=_serial(contents),
        metadata=BomMetaData(timestamp=_CREATED, component=image, tools=ToolRepository(components=[tool])),
        components=parts,
    )
    bom.register_dependency(image, parts)
    return canonical(msgspec.json.decode(JsonV1Dot6(bom).output_as_string()))


def _serial(contents: Contents) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, contents.manifest.text)


def _cyclonedx_licences(licences: Iterable[str]) -> list[Any] | None:
    from cyclonedx.contrib.license.factories import LicenseFactory  # noqa: PLC0415

    made = [LicenseFactory().make_from_string(text) for text in licences]
    # CycloneDX 1.6 knows one expression alone, or any number of named licences.
    if len(made) > 1:
        made = [LicenseFactory().make_with_name(text) for text in licences]
    return made or None


def spdx(contents: Contents) -> bytes:
    """The image's SBOM in SPDX 2.3, canonical JSON."""
    from spdx_tools.spdx.model.actor import Actor, ActorType  # noqa: PLC0415
    from spdx_tools.spdx.model.document import CreationInfo, Document  # noqa: PLC0415
    from spdx_tools.spdx.model.relationship import Relationship, RelationshipType  # noqa: PLC0415
    from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream  # noqa: PLC0415

    image = _spdx_image(contents)
    parts = [_spdx_part(number, part) for number, part in enumerate(contents.parts)]
    creation = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=contents.name,
        document_namespace=_serial(contents).urn,
        creators=[Actor(ActorType.TOOL, f"veilbox-{veilbox.__version__}")],
        created=_CREATED.replace(tzinfo=None),  # the library takes UTC without saying so
    )
    described = Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, image.spdx_id)
    contained = [Relationship(image.spdx_id, RelationshipType.CONTAINS, part.spdx_id) for part in parts]
    document = Document(creation, packages=[image, *parts], relationships=[described, *contained])
    stream = io.StringIO()
    write_document_to_stream(document, stream, validate=True)
    return canonical(msgspec.json.decode(stream.getvalue()))


def _spdx_image(contents: Contents) -> Any:
    from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm  # noqa: PLC0415
    from spdx_tools.spdx.model.package import Package, PackagePurpose  # noqa: PLC0415
    from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion  # noqa: PLC0415

    return Package(
        spdx_id="SPDXRef-image",
        name=contents.name,
        download_location=SpdxNoAssertion(),
        version=contents.version or None,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, contents.manifest.hex)],
        license_declared=_spdx_licence(contents.licences),
        primary_package_purpose=PackagePurpose.CONTAINER,
        files_analyzed=False,
    )


def _spdx_part(number: int, part: Part) -> Any:
    from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm  # noqa: PLC0415
    from spdx_tools.spdx.model.package import ExternalPackageRef, ExternalPackageRefCategory, Package  # noqa: PLC0415
    from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion  # noqa: PLC0415

    said = ", ".join(part.licences)
    return Package(
        spdx_id=f"SPDXRef-part-{number}",
        name=part.name,
        download_location=SpdxNoAssertion(),
        version=part.version or None,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, Digest(part.digest).hex)] if part.source is Source.MODEL else [],
        license_declared=_spdx_licence(part.licences),
        license_comment=f"The package states: {said}" if said else None,
        summary=_KINDS[part.source],
        source_info=part.origin or None,
        files_analyzed=False,
        external_references=[ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", part.purl)],
    )


def _spdx_licence(licences: tuple[str, ...]) -> Any:
    """One valid expression, or no assertion: Debian's short names are not SPDX's, and guessing would be a claim."""
    from license_expression import ExpressionError, get_spdx_licensing  # type: ignore[import-untyped]  # noqa: PLC0415
    from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion  # noqa: PLC0415

    if len(licences) != 1:
        return SpdxNoAssertion()
    try:
        return get_spdx_licensing().parse(licences[0], validate=True)
    except ExpressionError:
        return SpdxNoAssertion()
