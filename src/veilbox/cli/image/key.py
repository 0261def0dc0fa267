"""`veilbox image key generate|show`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from veilbox.cli.image.passphrase import add_passphrase_option, passphrase
from veilbox.core.errors import OutputError, UsageError


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "key",
        help="make a key pair for signing images",
        description="Key pairs for signing images, in cosign's format.",
        epilog="examples:\n  veilbox image key generate release\n  veilbox image key show release.pub",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    generate = kinds.add_parser(
        "generate",
        help="make PREFIX.key (sealed with a passphrase) and PREFIX.pub",
        epilog="example:\n  veilbox image key generate release",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    generate.add_argument("prefix", type=Path, metavar="PREFIX", help="existing files are never overwritten")
    add_passphrase_option(generate)
    generate.set_defaults(run=run_generate)
    show = kinds.add_parser(
        "show",
        help="print a public key's id, as policies and reports name it",
        epilog="example:\n  veilbox image key show release.pub",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("file", type=Path, metavar="FILE", help="PREFIX.pub")
    show.set_defaults(run=run_show)


def run_generate(arguments: argparse.Namespace) -> int:
    """Make a key pair."""
    from veilbox.oci.trust.keys import PrivateKey  # noqa: PLC0415

    private, public = (arguments.prefix.with_name(f"{arguments.prefix.name}.{end}") for end in ("key", "pub"))
    for path in (private, public):
        if path.exists():
            raise UsageError("is there already", where=str(path), advice="A key that is replaced cannot be revoked")
    key = PrivateKey.generate()
    _write(private, key.encrypted(passphrase(arguments, new=True)), 0o600)
    _write(public, key.public.pem, 0o644)
    sys.stdout.write(f"{key.public.key_id}\n")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Print a public key's id."""
    from veilbox.oci.trust.keys import PublicKey  # noqa: PLC0415

    try:
        key = PublicKey.parse(arguments.file.read_text("utf-8", "replace"))
    except OSError as error:
        raise UsageError("cannot be read", where=str(arguments.file), actual=error.strerror or str(error)) from error
    sys.stdout.write(f"{key.key_id}\n")
    return 0


def _write(path: Path, text: str, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            file.write(text)
    except OSError as error:
        raise OutputError("cannot be written", where=str(path), actual=error.strerror or str(error)) from error
