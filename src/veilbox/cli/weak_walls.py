"""What every command that runs a pod says where the walls are weaker than a container's."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from veilbox.core.policy import Policy

SEALED_PROCESSES = "components are sealed processes, in no container: their walls are weaker"


def warn_of_weak_walls(policies: Iterable[Policy]) -> None:
    """Say it once on standard error, where a command's results have no place for it."""
    if any("sealed-processes" in policy.warnings for policy in policies):
        sys.stderr.write(
            f"veilbox: warning: {SEALED_PROCESSES}; `veilbox isolation probe --runtime process` measures them\n"
        )
