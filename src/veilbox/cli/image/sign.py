"""`veilbox image sign NAME...`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.cli.image.passphrase import add_passphrase_option, passphrase
from veilbox.cli.image.rendering import say
from veilbox.core.errors import UsageError

if TYPE_CHECKING:
    from veilbox.oci.trust.keys import PrivateKey

_EPILOG = """\
examples:
  veilbox image sign ingest audit --key release.key --repository registry.example.org/veilbox
  veilbox image sign ingest
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "sign",
        help="sign images, attest their SBOMs and provenance",
        description="Sign images of this machine as cosign does, and attest what is in them and how they were built.\n"
        "Signatures of other keys stay.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="of this machine, as `veilbox image list` prints it")
    add_signing_options(parser)
    parser.set_defaults(run=run)


def add_signing_options(parser: argparse.ArgumentParser) -> None:
    """Whose word it is, and where the signed thing will be pushed."""
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key; default: this machine's own")
    parser.add_argument(
        "--repository",
        default="",
        metavar="PREFIX",
        help="sign as PREFIX/NAME, where it will be pushed; default: veilbox.local/NAME",
    )
    add_passphrase_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sign every image that is named."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.trust.endorse import sign  # noqa: PLC0415
    from veilbox.oci.trust.signature import LOCAL  # noqa: PLC0415

    store = ImageStore.default()
    key = signing_key(arguments, store.root / "trust")
    now = datetime.now(UTC)
    for name in arguments.names:
        reference = f"{arguments.repository.rstrip('/') or LOCAL}/{name}"
        sign(store, name, key, reference=reference, now=now)
        say(f"{name}: signed as {reference} by {key.public.key_id}")
    return 0


def signing_key(arguments: argparse.Namespace, trust: Path) -> PrivateKey:
    """The key of `--key`, opened, or this machine's own.

    Raises:
        UsageError: It cannot be read or opened.
        MachineError: The machine's own cannot.
    """
    from veilbox.oci.trust.keys import PrivateKey  # noqa: PLC0415
    from veilbox.oci.trust.store import TrustStore  # noqa: PLC0415

    if arguments.key is None:
        return TrustStore(trust).local_key()
    try:
        text = arguments.key.read_text("utf-8", "replace")
    except OSError as error:
        raise UsageError("cannot be read", where=str(arguments.key), actual=error.strerror or str(error)) from error
    return PrivateKey.parse(text, passphrase(arguments, new=False))
