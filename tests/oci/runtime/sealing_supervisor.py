"""A supervisor of two sealed processes, one of which is never started, that waits to be killed.

usage: sealing_supervisor.py RUN-DIRECTORY
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from sealing_rig import sealing_rig

from veilbox.oci.runtime.jobs import RunDirectory
from veilbox.oci.runtime.namespaces import enter_private_namespaces


def main() -> None:
    """Make them, tell their numbers, wait."""
    enter_private_namespaces()
    with sealing_rig("process", RunDirectory(Path(sys.argv[1]))) as rig:
        made = [rig.program("wait") for _ in range(2)]
        rig.runtime.start(made[0].container_id)
        sys.stdout.write(json.dumps([one.process.pid for one in made]) + "\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
