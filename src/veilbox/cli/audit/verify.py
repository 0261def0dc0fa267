"""`veilbox audit verify`: needs the log, or a bundle, and the public key."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.cli.audit.places import add_log, log_folder, read
from veilbox.core.errors import SourceMissing, UsageError

if TYPE_CHECKING:
    from veilbox.audit_verifier.note import PublicKey

_EPILOG = """\
examples:
  veilbox audit verify
  veilbox audit verify --log copy/audit --key log.pub --checkpoint kept.note
  veilbox audit verify --bundle job.json --key log.pub --file street-anonymised.mp4

Take the key, and the checkpoint if you kept one, from a place that whoever may write the log may not.
"""
_CHUNK = 1 << 20


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "verify",
        help="verify the whole log, or a bundle",
        description="Verify every entry, hash and checkpoint of a log, or the proofs in a bundle.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_log(parser)
    parser.add_argument("--key", metavar="KEY", help="public key, or a file with it (default: key.pub beside the log)")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="signed note that was kept: the log must have grown out of it"
    )
    parser.add_argument("--archived", action="store_true", help="segments may be missing from the front")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="verify a bundle instead of a log; needs --key")
    parser.add_argument(
        "--file", action="append", type=Path, metavar="FILE", help="must be among the bundle's outputs; repeatable"
    )
    parser.add_argument("--json", action="store_true", help="print what was verified as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify; the first fault is an error."""
    facts = _bundle(arguments) if arguments.bundle else _log(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.write("verified  " + ", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    return 0


def _log(arguments: argparse.Namespace) -> dict[str, object]:
    from veilbox.audit_verifier.folder import verify_folder  # noqa: PLC0415
    from veilbox.audit_verifier.note import open_note  # noqa: PLC0415

    folder = log_folder(arguments)
    if arguments.file:
        raise UsageError("belongs to --bundle", where="--file")
    if arguments.key is None:
        sys.stderr.write("veilbox: the key was taken from the log's own folder; give --key to trust another place\n")
    key = _key(arguments.key or str(folder / "key.pub"))
    known = open_note(read(arguments.checkpoint), key, str(arguments.checkpoint)) if arguments.checkpoint else None
    found = verify_folder(folder, key, known=known, archived=arguments.archived)
    return {
        "log": found.origin,
        "entries": found.size,
        "checkpoints": found.checkpoints,
        "archived": found.archived,
        "root": found.root.hex(),
    }


def _bundle(arguments: argparse.Namespace) -> dict[str, object]:
    from veilbox.audit_verifier.bundle import verify_bundle  # noqa: PLC0415

    if arguments.key is None:
        raise UsageError("a bundle is verified with the log's key", where="--key", advice="Give --key")
    key = _key(arguments.key)
    files = [_digest(path) for path in arguments.file or ()]
    found = verify_bundle(read(arguments.bundle), key, files=files)
    return {
        "log": key.name,
        "job": found.job,
        "entries": found.entries,
        "of": found.size,
        "outputs": len(found.outputs),
        "attested": found.attested,
    }


def _key(text: str) -> PublicKey:
    from veilbox.audit_verifier.note import PublicKey  # noqa: PLC0415

    path = Path(text)
    return PublicKey.parse(path.read_text("utf-8", "replace") if path.is_file() else text)


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError as error:
        raise SourceMissing("cannot be read", where=str(path), actual=error.strerror or "") from error
    return f"sha256:{state.hexdigest()}"
