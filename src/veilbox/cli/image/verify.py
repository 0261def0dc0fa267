"""`veilbox image verify [NAME...]`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import ImageError, UsageError, VeilboxError

if TYPE_CHECKING:
    from veilbox.oci.admit import Trust
    from veilbox.oci.image.spec import Descriptor
    from veilbox.oci.image.store import ImageStore
    from veilbox.oci.trust.verify import Admission

_EPILOG = """\
examples:
  veilbox image verify
  veilbox image verify --all --unpacked
  veilbox image verify ingest --key release.pub
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "verify",
        help="hold images to the trust policy, with every blob",
        description="Ask of images what a job asks before it runs them, and read every blob. Nothing is changed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every component image")
    parser.add_argument("--all", action="store_true", help="every image and model that this machine holds")
    parser.add_argument("--unpacked", action="store_true", help="also compare every unpacked file with its layer")
    by = parser.add_mutually_exclusive_group()
    by.add_argument("--policy", type=Path, metavar="FILE", help="another trust policy, or a containers-policy.json")
    by.add_argument("--key", type=Path, metavar="FILE", help="ask only whether this public key signed them")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify images; all are looked at, then the first fault is raised."""
    from veilbox.oci.examine import held_images  # noqa: PLC0415
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    if arguments.all and arguments.names:
        raise UsageError("either names or --all")
    store = ImageStore.default()
    names = held_images(store) if arguments.all else arguments.names or image_names()
    trust = _trust(arguments, store)
    looks = [(name, partial(_image, store, name, trust, unpacked=arguments.unpacked)) for name in names]
    looks += _models(store, trust) if arguments.all else []
    rows: list[dict[str, object]] = []
    faults: list[VeilboxError] = []
    for name, look in looks:
        row: dict[str, object] = {"name": name, "state": "holds", "digest": "", "version": "", "keys": [], "error": ""}
        try:
            rows.append(row | look())
        except ImageError as error:
            faults.append(error)
            rows.append(row | {"state": "refused", "error": str(error)})
    columns = {"image": "name", "state": "state", "version": "version", "keys": "keys", "digest": "digest"}
    print_rows(rows, columns, as_json=arguments.json)
    for fault in faults:
        say(f"veilbox: {fault}")
    return faults[0].exit_code if faults else 0


def _image(store: ImageStore, name: str, trust: Trust, *, unpacked: bool) -> dict[str, object]:
    from veilbox.oci.examine import examine  # noqa: PLC0415

    found = examine(store, name, trust, unpacked=unpacked)
    return {"digest": str(found.manifest), "version": found.admission.version, "keys": _keys(found.admission)}


def _models(store: ImageStore, trust: Trust) -> list[tuple[str, partial[dict[str, object]]]]:
    """Every version of a model that the store holds, in use or not, and how to look at it."""
    from veilbox.oci.models.shelf import held, tag_of  # noqa: PLC0415

    return [
        (tag_of(name, digest), partial(_model, store, name, descriptor, trust))
        for (name, digest), descriptor in held(store).items()
    ]


def _model(store: ImageStore, name: str, descriptor: Descriptor, trust: Trust) -> dict[str, object]:
    from veilbox.oci.models.examine import examine_model  # noqa: PLC0415

    found = examine_model(store, name, descriptor, replace(trust, remembers=False))
    return {"digest": str(found.manifest), "keys": _keys(found.admission) if found.admission else []}


def _keys(admission: Admission) -> list[str]:
    return [str(key) for key in admission.keys]


def _trust(arguments: argparse.Namespace, store: ImageStore) -> Trust:
    from veilbox.oci.admit import Trust  # noqa: PLC0415
    from veilbox.oci.trust.policy_file import policy_of_key, read_policy  # noqa: PLC0415
    from veilbox.oci.trust.store import TrustStore  # noqa: PLC0415

    if arguments.policy is None and arguments.key is None:
        return Trust.of(store)
    policy = policy_of_key(arguments.key) if arguments.key else read_policy(arguments.policy)
    return Trust(store=TrustStore(store.root / "trust"), policy=policy, now=datetime.now(UTC))
