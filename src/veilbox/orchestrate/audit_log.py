"""Where the audit log lies on this machine, and the form of its entries.

Only the audit component writes the log; the supervisor opens the file and hands the descriptor down.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from veilbox.core.errors import OutputError


def entry_json(event: str, facts: Mapping[str, object]) -> str:
    """One entry: what happened, when, and its numbers."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"event": event, "time": now, **facts}, sort_keys=True)


def open_log(root: Path) -> int:
    """A descriptor of the log for reading and appending; the file is made if it is not there.

    Args:
        root: The store's root; the log is `audit/log.jsonl` below it.

    Raises:
        OutputError: The folder or file cannot be made or opened.
    """
    path = root / "audit" / "log.jsonl"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise OutputError("cannot open the audit log", where=str(path), actual=os.strerror(error.errno or 0)) from error
