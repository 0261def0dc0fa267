"""`veilbox image lock`."""

from __future__ import annotations

import argparse
from pathlib import Path

from veilbox.cli.image.build import architecture_of
from veilbox.cli.image.rendering import print_rows, say
from veilbox.core.errors import OutputError


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action's parser."""
    parser = actions.add_parser(
        "lock",
        help="renew the locks of Debian packages and wheels",
        description="Write down which Debian packages this machine's sources offer now, for this machine's "
        "distribution,\nand which wheels the package index offers. Builds take exactly these.",
        epilog="examples:\n  veilbox image lock\n  veilbox image lock --platform linux/arm64 --output locks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="linux/ARCH",
        help="default: linux/amd64 and linux/arm64; repeatable",
    )
    parser.add_argument("--keep-wheels", action="store_true", help="renew the locks of Debian packages only")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where locks go; default: into this veilbox")
    parser.add_argument("--json", action="store_true", help="print what changed as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Renew locks and say what changed."""
    from veilbox.oci.image.build import ARCHITECTURES, new_lock  # noqa: PLC0415
    from veilbox.oci.image.locks import LOCKS, LockBook, changes  # noqa: PLC0415
    from veilbox.oci.image.store import ImageStore  # noqa: PLC0415

    folder = arguments.output or LOCKS
    rows: list[dict[str, object]] = []
    for architecture in [architecture_of(one) for one in arguments.platform] or ARCHITECTURES:
        lock = new_lock(ImageStore.default(), architecture, say)
        before = LockBook(own=folder, shipped=folder).current(lock.name)
        _write(folder / f"{lock.name}.json", lock.text())
        rows.append({"lock": lock.name, "changes": list(changes(before, lock))})
    if not arguments.keep_wheels:
        rows.append(_renewed_wheels(arguments.output))
    for row in rows:
        for change in row["changes"] if isinstance(row["changes"], list) else ():
            say(f"{row['lock']}: {change}")
    print_rows(rows, {"lock": "lock", "changes": "changes"}, as_json=arguments.json)
    return 0


def _renewed_wheels(output: Path | None) -> dict[str, object]:
    from veilbox.oci.image.definition import REQUIREMENTS  # noqa: PLC0415
    from veilbox.oci.image.wheel_lock import new_wheel_lock, pinned  # noqa: PLC0415

    say("asking the package index for wheels")
    folder = output or REQUIREMENTS
    made = new_wheel_lock()
    lines: list[str] = []
    for name, content in made.items():
        path = folder / name
        old = pinned(path.read_text("utf-8") if path.is_file() else "")
        new = pinned(content.decode("utf-8"))
        lines += [f"{one}: gone" for one in sorted(old - new)] + [f"{one}: new" for one in sorted(new - old)]
        _write(path, content)
    return {"lock": "wheels", "changes": list(dict.fromkeys(lines))}


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(
            "cannot write the lock", where=str(path), actual=str(error.strerror), advice="Name a folder with --output"
        ) from error
