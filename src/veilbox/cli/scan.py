"""`veilbox scan`: what configuration promises about walls."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import veilbox
from veilbox.core.errors import UsageError, printable

if TYPE_CHECKING:
    from veilbox.scan.rule import Finding, Profile
    from veilbox.scan.scanner import Scanned
    from veilbox.scan.suppression import Suppression

_EPILOG = """\
examples:
  veilbox scan deploy/ compose.yaml
  veilbox scan --profile pss-restricted deploy/
  veilbox scan --sarif deploy/ > scan.sarif
  veilbox scan --live

exit status: 0 clean, 1 findings, 2 something could not be read
"""
_PROFILES = ("pss-baseline", "pss-restricted", "veilbox")
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_FOUND = 1
# One byte more than the reader takes, so that it sees that there is more.
_READ_BYTES = (4 << 20) + 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "scan",
        help="find isolation faults in configuration",
        description="Find network and storage isolation faults and over-privilege in Kubernetes manifests, Compose "
        "files and OCI config.json.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "targets", nargs="*", type=Path, metavar="FILE|DIR", help="folders are searched for .yaml, .yml and .json"
    )
    parser.add_argument(
        "--live", action="store_true", help="instead of files, hold this user's running containers against their plans"
    )
    parser.add_argument("--profile", choices=_PROFILES, default="veilbox", help="set of rules (default: veilbox)")
    parser.add_argument(
        "--suppressions", type=Path, metavar="FILE", help="TOML with findings to accept, each with a reason"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print findings as JSON")
    form.add_argument("--sarif", action="store_true", help="print findings as SARIF 2.1.0")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Scan, print, and say by the exit status what was found."""
    from veilbox.scan.rule import Profile  # noqa: PLC0415
    from veilbox.scan.sarif import sarif  # noqa: PLC0415

    profile = Profile(arguments.profile)
    scanned = _live(arguments) if arguments.live else _scan(arguments, profile)
    if arguments.sarif:
        sys.stdout.write(json.dumps(sarif(scanned, profile, veilbox.__version__)) + "\n")
    elif arguments.json:
        sys.stdout.write(json.dumps(_document(scanned, profile.value)) + "\n")
    else:
        _print(scanned)
    if scanned.unreadable:
        return UsageError.exit_code
    return _FOUND if scanned.open else 0


def _scan(arguments: argparse.Namespace, profile: Profile) -> Scanned:
    from veilbox.scan.rules import RULES  # noqa: PLC0415
    from veilbox.scan.scanner import scan  # noqa: PLC0415

    if not arguments.targets:
        raise UsageError("nothing to scan", where="FILE|DIR", advice="Name files or folders, or give --live")
    return scan(
        {str(path): _content(path) for path in _files(arguments.targets)},
        profile,
        named=[str(path) for path in arguments.targets],
        suppressions=_suppressions(arguments.suppressions, [rule.id for rule in RULES]),
        today=_today(),
    )


def _live(arguments: argparse.Namespace) -> Scanned:
    from veilbox.oci.runtime.jobs import RunDirectory  # noqa: PLC0415
    from veilbox.orchestrate.live_scan import known_rules, scan_live  # noqa: PLC0415

    if arguments.targets or arguments.profile != "veilbox":
        raise UsageError("takes no files, and has a profile of its own", where="--live")
    suppressions = _suppressions(arguments.suppressions, known_rules())
    return scan_live(RunDirectory.here(), suppressions=suppressions, today=_today())


def _today() -> date:
    return datetime.now(tz=UTC).date()


def _files(targets: Iterable[Path]) -> Iterator[Path]:
    for target in targets:
        if target.is_dir():
            yield from sorted(path for path in target.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        else:
            yield target


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_READ_BYTES)
    except OSError as error:
        # 2 is what this command says of whatever it cannot read.
        raise UsageError("cannot be read", where=str(path), actual=error.strerror or "") from error


def _suppressions(path: Path | None, rules: Iterable[str]) -> tuple[Suppression, ...]:
    from veilbox.scan.suppression import parse_suppressions  # noqa: PLC0415

    if path is None:
        return ()
    text = _content(path).decode("utf-8", "replace")
    return parse_suppressions(text, rules, str(path))


def _document(scanned: Scanned, profile: str) -> dict[str, Any]:
    return {
        "profile": profile,
        "files": scanned.files,
        "skipped": scanned.skipped,
        "workloads": scanned.workloads,
        "findings": [_as_json(finding) for finding in scanned.findings],
        "unreadable": [{"file": one.file, "reason": one.reason} for one in scanned.unreadable],
        "unused_suppressions": [{"rule": one.rule, "file": one.file, "path": one.path} for one in scanned.idle],
    }


def _as_json(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.id,
        "severity": rule.severity.value,
        "file": finding.file,
        "document": finding.document,
        "line": finding.line,
        "column": finding.column,
        "path": finding.path,
        "subject": finding.subject,
        "title": rule.title,
        "found": finding.found,
        "gains": rule.gains,
        "fix": rule.fix,
        "references": list(rule.references),
        "suppressed": finding.suppressed or None,
        "suppressed_in": finding.suppressed_in or None,
    }


def _print(scanned: Scanned) -> None:
    for finding in scanned.open:
        rule = finding.rule
        sys.stdout.write(
            f"{printable(finding.file)}:{finding.line}:{finding.column}: {rule.severity.value} {rule.id}: "
            f"{rule.title}\n"
            f"    found   {printable(finding.found)} at {printable(finding.path)} ({printable(finding.subject)})\n"
            f"    gains   {rule.gains}\n"
            f"    fix     {rule.fix}\n"
            f"    see     {'; '.join(rule.references)}\n"
        )
    for one in scanned.unreadable:
        sys.stderr.write(f"veilbox: {printable(one.file)}: not judged: {printable(one.reason)}\n")
    for line in scanned.idle:
        sys.stderr.write(f"veilbox: suppression of {line.rule} in {printable(line.file)} covers nothing\n")
    suppressed = len(scanned.findings) - len(scanned.open)
    sys.stdout.write(
        f"{len(scanned.open)} findings, {suppressed} suppressed, {scanned.workloads} workloads in {scanned.files} "
        "files\n"
    )
