"""`veilbox image load FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from veilbox.cli.image.rendering import print_rows
from veilbox.core.errors import OutputError

_EPILOG = """\
examples:
  veilbox image load veilbox-images.tar --trust-to policy-to-read/
  veilbox image load veilbox-images.tar

Components must be accepted by this machine's trust policy. The policy in the archive is never put in force: look at it
with --trust-to, compare the keys with what their owner told you, and install it by hand.
"""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "load",
        help="take in the images of an archive",
        description="Take in the images of an archive that `veilbox image save` or another tool wrote.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the archive")
    parser.add_argument(
        "--trust-to", type=Path, metavar="DIR", help="write the archive's trust policy and keys there, and load nothing"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Load an archive, or take its policy out."""
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415
    from veilbox.oci.pull import load_archive  # noqa: PLC0415
    from veilbox.oci.registry.archive import read_notes  # noqa: PLC0415

    if arguments.trust_to is not None:
        notes = read_notes(arguments.file)
        _write(arguments.trust_to, notes)
        files: list[dict[str, object]] = [{"file": name, "bytes": len(content)} for name, content in notes.items()]
        print_rows(files, {"file": "file", "bytes": "bytes"}, as_json=arguments.json)
        return 0
    images = load_archive(ImageStore.default(), arguments.file)
    rows: list[dict[str, object]] = [{"name": name, "digest": digest.text} for name, digest in images.items()]
    print_rows(rows, {"image": "name", "digest": "digest"}, as_json=arguments.json)
    return 0


def _write(folder: Path, notes: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in notes.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError("cannot write the policy", where=str(folder), actual=error.strerror or "") from error
