"""The image-spec's own JSON schemas, 1.1.0 as Debian 13 packages them (LICENSE beside them), written for draft 4."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

SCHEMAS = Path(__file__).parent / "schema"
# Each schema has an `id` of its own and names the others relative to it, by the names of their files.
_ID = "https://opencontainers.org/schema/"


@cache
def _validator(kind: str) -> Draft4Validator:
    documents = {path.name: json.loads(path.read_bytes()) for path in SCHEMAS.glob("*.json")}
    resources = [
        (f"{prefix}{name}", DRAFT4.create_resource(document))
        for name, document in documents.items()
        for prefix in (_ID, f"{_ID}image/", f"{_ID}image/index/", f"{_ID}image/manifest/", f"{_ID}descriptor/", "")
    ]
    Draft4Validator.check_schema(documents[f"{kind}-schema.json"])
    return Draft4Validator(documents[f"{kind}-schema.json"], registry=Registry().with_resources(resources))


def faults(kind: str, raw: bytes) -> list[str]:
    """What a schema (`image-manifest`, `image-index`, `image-layout`, `config`) finds wrong in a document."""
    return [f"{fault.json_path}: {fault.message}" for fault in _validator(kind).iter_errors(json.loads(raw))]
