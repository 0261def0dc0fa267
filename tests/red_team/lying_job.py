"""Runs a whole job in which one component lies, and prints how it ended.

    lying_job.py LIE COMPONENT FOLDER

FOLDER has `film.mp4`. Prints JSON: the error's kind and words, and what lies in the output's folder afterwards.
A process of its own, because it becomes a supervisor.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hostile_layer import stand_ins

from veilbox.core.errors import VeilboxError
from veilbox.core.job import Item, Job
from veilbox.core.policy import Policy
from veilbox.oci.image.store import ImageStore
from veilbox.orchestrate.anonymize import anonymize
from veilbox.orchestrate.progress import Silent

# Long, for it is to find who is silent and not who waits for a processor.
DEADLINE_S = 15


def ended(lie: str, component: str, folder: Path) -> dict[str, object]:
    """How the job ended, and what it left."""
    output = folder / "out" / "film.mp4"
    job = Job(
        items=(Item(source=folder / "film.mp4", output=output, name="film.mp4"),),
        policy=Policy(deadline_s=DEADLINE_S),
        replace=False,
    )
    text = f"from hostile.liars import run as lying\ndef run(session):\n    lying(session, {lie!r})\n"
    kind, said = "", ""
    with stand_ins(folder / "layers", _modules(component, text)):
        try:
            anonymize(job, store=ImageStore.default(), progress=Silent())
        except VeilboxError as error:
            kind, said = type(error).__name__, str(error)
    return {"kind": kind, "said": said, "left": [path.name for path in (folder / "out").iterdir()]}


def _modules(component: str, text: str) -> dict[str, dict[str, str]]:
    """The module that gives way, by the image that has it: the second look runs in a detector's image."""
    module = f"veilbox/components/{component.partition('-')[0]}.py"
    return {component.replace("second-", "detect-"): {module: text}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(ended(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
