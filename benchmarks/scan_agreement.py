"""Does `veilbox scan` see what checkov sees?

Every Kubernetes document of tests/scan, those that break one rule each and the workloads as people write them, goes to
both. Each of checkov's findings must be ours too, by the table of docs/reference/scan.md, or stand in that page's table
of what we do not ask. checkov has no rules for Compose files and OCI bundles.

    python3 -m venv build/checkov && build/checkov/bin/pip install checkov
    .venv/bin/python benchmarks/scan_agreement.py --checkov build/checkov/bin/checkov
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "scan"))

from scan_workshop import changed  # noqa: E402

from veilbox.scan.rule import Profile  # noqa: E402
from veilbox.scan.scanner import scan  # noqa: E402

_ROW = re.compile(r"^\| `(CKV2?_K8S_\d+)` [^|]*\|(.*)\|$", re.MULTILINE)


def main() -> int:
    """Compare, print, and fail on a finding that the page does not explain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkov", default=shutil.which("checkov"), help="path of checkov's program")
    checkov = parser.parse_args().checkov
    if checkov is None:
        parser.error("checkov is not on PATH")
    mapped, refused = tables()
    with tempfile.TemporaryDirectory() as folder:
        files = documents(Path(folder))
        theirs = findings(checkov, folder)
        ours = rules_of(files)
    return compare(theirs, ours, mapped, refused)


def tables() -> tuple[dict[str, set[str]], set[str]]:
    """What the page says: our rules for each of checkov's checks, and checks that we do not make."""
    text = (ROOT / "docs" / "reference" / "scan.md").read_text("utf-8")
    mapped: dict[str, set[str]] = {}
    refused = set()
    for check, cell in _ROW.findall(text):
        rules = set(re.findall(r"`([a-z-]+)`", cell))
        if rules:
            mapped[check] = rules
        else:
            refused.add(check)
    return mapped, refused


def documents(folder: Path) -> dict[str, bytes]:
    """One file for each document, written for checkov."""
    cases = yaml.safe_load((ROOT / "tests/scan/kubernetes.yaml").read_text("utf-8"))
    files = {f"case-{number:02}.yaml": changed("kubernetes", case["fail"]) for number, case in enumerate(cases)}
    shared = (ROOT / "tests/scan/shared/workloads.yaml").read_text("utf-8")
    for number, document in enumerate(yaml.safe_load_all(shared)):
        files[f"workload-{number}.yaml"] = yaml.safe_dump(document).encode()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


def findings(checkov: str, folder: str) -> set[tuple[str, str]]:
    """What checkov finds: file, check."""
    command = [checkov, "-d", folder, "--framework", "kubernetes", "-o", "json", "--compact", "--quiet"]
    done = subprocess.run([*command, "--skip-download"], capture_output=True, check=False, text=True)
    report: Any = json.loads(done.stdout)
    report = report[0] if isinstance(report, list) else report
    print(f"checkov {report['summary']['checkov_version']}, {report['summary']['failed']} findings")
    return {(Path(one["file_path"]).name, one["check_id"]) for one in report["results"]["failed_checks"]}


def rules_of(files: dict[str, bytes]) -> dict[str, set[str]]:
    """Our findings by file, each file scanned alone as checkov judges it."""
    today = datetime.now(tz=UTC).date()
    return {
        name: {one.rule.id for one in scan({name: data}, Profile.VEILBOX, today=today).open}
        for name, data in files.items()
    }


def compare(
    theirs: set[tuple[str, str]], ours: dict[str, set[str]], mapped: dict[str, set[str]], refused: set[str]
) -> int:
    """Print agreement check by check; 1 if something is not explained."""
    agreed: Counter[str] = Counter()
    missed: list[tuple[str, str]] = []
    for file, check in sorted(theirs):
        if check in refused:
            continue
        if mapped.get(check, set()) & ours[file]:
            agreed[check] += 1
        else:
            missed.append((check, file))
    known = {rule for rules in mapped.values() for rule in rules}
    beyond = Counter(rule for rules in ours.values() for rule in rules - known)
    print(f"{len(ours)} documents; {agreed.total()} findings of mapped checks are ours too, {len(missed)} are not")
    print(f"not asked here: {len({check for _, check in theirs} & refused)} checks")
    print(f"ours alone: {beyond.total()} findings of {len(beyond)} rules: {', '.join(sorted(beyond))}")
    for check, file in missed:
        print(f"MISSED {check} in {file}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
