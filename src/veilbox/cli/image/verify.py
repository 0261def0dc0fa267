"""`veilbox image verify [NAME...]`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import ImageError, UsageError, VeilboxError

if TYPE_CHECKING:
    from veilbox.oci.admit import Trust
    from veilbox.oci.image.store import ImageStore

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
    parser.add_argument("--all", action="store_true", help="every image that this machine holds")
    parser.add_argument("--unpacked", action="store_true", help="also compare every unpacked file with its layer")
    by = parser.add_mutually_exclusive_group()
    by.add_argument("--policy", type=Path, metavar="FILE", help="another trust policy, or a containers-policy.json")
    by.add_argument("--key", type=Path, metavar="FILE", help="ask only whether this public key signed them")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify images; all are looked at, then the first fault is raised."""
    from veilbox.oci.examine import examine, held_images  # noqa: PLC0415
    from veilbox.oci.image.definition import image_names  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    if arguments.all and arguments.names:
        raise UsageError("either names or --all")
    store = ImageStore.default()
    names = held_images(store) if arguments.all else arguments.names or image_names()
    trust = _trust(arguments, store)
    rows: list[dict[str, object]] = []
    faults: list[VeilboxError] = []
    for name in names:
        try:
            found = examine(store, name, trust, unpacked=arguments.unpacked)
        except ImageError as error:
            faults.append(error)
            rows.append(
                {"name": name, "state": "refused", "digest": "", "version": "", "keys": [], "error": str(error)}
            )
            continue
        keys = [str(key) for key in found.admission.keys]
        rows.append(
            {"name": name, "state": "holds", "digest": str(found.manifest), "version": found.admission.version}
            | {"keys": keys, "error": ""}
        )
    columns = {"image": "name", "state": "state", "version": "version", "keys": "keys", "digest": "digest"}
    print_rows(rows, columns, as_json=arguments.json)
    for fault in faults:
        say(f"veilbox: {fault}")
    return faults[0].exit_code if faults else 0


def _trust(arguments: argparse.Namespace, store: ImageStore) -> Trust:
    from veilbox.oci.admit import Trust  # noqa: PLC0415
    from veilbox.oci.trust.policy_file import policy_of_key, read_policy  # noqa: PLC0415
    from veilbox.oci.trust.store import TrustStore  # noqa: PLC0415

    if arguments.policy is None and arguments.key is None:
        return Trust.of(store)
    policy = policy_of_key(arguments.key) if arguments.key else read_policy(arguments.policy)
    return Trust(store=TrustStore(store.root / "trust"), policy=policy, now=datetime.now(UTC))
