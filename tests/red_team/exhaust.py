"""Runs a whole job in which one component attacks the machine, and prints how it ended.

    exhaust.py ATTACK COMPONENT FOLDER

FOLDER has `film.mp4`. Prints JSON: the error's kind and words, and what lies in the output's folder afterwards. Memory
and outputs are bounded lower than in a job of a user, so that an attack takes moments. A process of its own, because
it becomes a supervisor.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from hostile_layer import stand_ins

from veilbox.core.errors import VeilboxError
from veilbox.core.job import Item, Job
from veilbox.core.policy import Policy
from veilbox.oci.image.store import ImageStore
from veilbox.orchestrate import plan
from veilbox.orchestrate.anonymize import anonymize
from veilbox.orchestrate.progress import Silent

MEMORY_BYTES = 256 << 20
OUTPUT_BYTES = 64 << 20
DEADLINE_S = 4
# On a machine that is busy with others a start takes longer than a job allows; who attacks is what is asked here.
START_S = 20.0


def ended(attack: str, component: str, folder: Path) -> dict[str, object]:
    """How the job ended, and what it left."""
    source, output = folder / "film.mp4", folder / "out" / "film.mp4"
    job = Job(
        items=(Item(source=source, output=output, name="film.mp4"),),
        policy=Policy(deadline_s=DEADLINE_S),
        replace=False,
    )
    text = f"from hostile.exhaustion import run as attacking\ndef run(session):\n    attacking(session, {attack!r})\n"
    limits = replace(plan._PIXELS, memory_bytes=MEMORY_BYTES)
    kind, said = "", ""
    with (
        patch("veilbox.orchestrate.plan._PIXELS", limits),
        patch("veilbox.orchestrate.pod._START_S", START_S),
        patch("veilbox.orchestrate.anonymize.largest_output", lambda _: OUTPUT_BYTES),
        stand_ins(folder / "layers", {component: {f"veilbox/components/{component}.py": text}}),
    ):
        try:
            anonymize(job, store=ImageStore.default(), progress=Silent())
        except VeilboxError as error:
            kind, said = type(error).__name__, str(error)
    left = [path.name for path in (folder / "out").glob("*")]
    return {"kind": kind, "said": said, "left": left}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(ended(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
