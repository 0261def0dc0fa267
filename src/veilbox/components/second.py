"""second: a detector that looks at finished outputs; a process of its own, for whoever holds the first one is no judge.

verify's ring -> boxes, as numbers to verify. It is a detector like the others, under another name and at the score
from which a residual finding counts; its model is loaded with the first picture, so that it takes no memory while the
output is being made.
"""

from __future__ import annotations

import os
from pathlib import Path

from veilbox.components.detect import MODELS, Detect, introduce, model_folder
from veilbox.components.edges import Edges
from veilbox.components.session import Session
from veilbox.vision.detect import load_detector


def run(session: Session, models: Path = MODELS) -> None:
    """Detect in every picture that verify shows."""
    configure, channels = session.configure()
    edges = Edges(configure, channels, session)
    score = configure.policy.verification.score
    threads = len(os.sched_getaffinity(0))
    detector = load_detector(model_folder(models), threads=threads, threshold=score, floor=score, late=True)
    introduce(session, detector)
    Detect(session, configure, detector, edges, ring="second", every=True).run()
