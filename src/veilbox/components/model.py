"""The one model of a detector's image, and what a detector says of it before its first picture."""

from __future__ import annotations

import time
from pathlib import Path

from veilbox.components.session import Session
from veilbox.core import places
from veilbox.core.control import Ready
from veilbox.core.errors import ProtocolError
from veilbox.vision.detect import ModelCard

# The image's model layer.
MODELS = Path(places.models())


def introduce(session: Session, card: ModelCard) -> None:
    """Say that pictures may come, and of which model's kind."""
    session.send(Ready(ready_ns=time.monotonic_ns(), classes=card.classes, model=str(card.digest), stride=card.stride))


def model_folder(models: Path) -> Path:
    """The one model of an image.

    Raises:
        ProtocolError: There is none, or another beside it.
    """
    folders = sorted(path for path in models.iterdir() if path.is_dir())
    if len(folders) != 1:
        raise ProtocolError("the image must hold one model", where=str(models), actual=str(len(folders)))
    return folders[0]
