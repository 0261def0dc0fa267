"""second: a detector that looks at finished outputs; a process of its own, for whoever holds the first one is no judge.

verify's ring -> boxes, as numbers to verify. It is a detector like the others, under another name and at the score
from which a residual finding counts. Libraries and model are loaded when the first picture is on its way: until then
they would take memory, and processors from those who start the pod's first frame.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from veilbox.components.edges import Edges
from veilbox.components.model import MODELS, introduce, model_folder
from veilbox.components.session import Session
from veilbox.vision.detect import read_card

if TYPE_CHECKING:
    from veilbox.vision.detect import Detector

_RING = "second"


def run(session: Session, models: Path = MODELS) -> None:
    """Detect in every picture that verify shows."""
    configure, channels = session.configure()
    edges = Edges(configure, channels, session)
    folder = model_folder(models)
    introduce(session, read_card(folder))
    if session.called(edges.arriving(_RING)):
        from veilbox.components.detect import Detect  # noqa: PLC0415 - see above

        detector = load(folder, configure.policy.verification.score)
        Detect(session, configure, detector, edges, ring=_RING, every=True).run()


def load(folder: Path, score: float) -> Detector:
    """The model, at one score for everything."""
    from veilbox.vision.detect import load_detector  # noqa: PLC0415 - see above

    return load_detector(folder, threads=len(os.sched_getaffinity(0)), threshold=score, floor=score)
