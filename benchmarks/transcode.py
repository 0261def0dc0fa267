"""The floor: decode and encode the same film with the same encoder and settings through the same library.

Run as a program of its own: `transcode.py SOURCE OUTPUT`; of a folder every file, one after the other. Prints seconds
and frames as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from veilbox.core.policy import Encoding
from veilbox.media.encoder import open_encoder
from veilbox.media.source import AudioPacket, open_source


def main(source: Path, output: Path) -> None:
    """Transcode a film or a folder."""
    began = time.monotonic()
    if source.is_dir():
        output.mkdir(exist_ok=True)
        frames = sum(transcode(path, output / path.name) for path in sorted(source.iterdir()))
    else:
        frames = transcode(source, output)
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - began, "frames": frames}) + "\n")


def transcode(path: Path, output: Path, *, threads: int = 0) -> int:
    """Transcode one file with the encoder's own choice of threads or so many; the number of its frames."""
    frames = 0
    with path.open("rb") as source_file, open_source(source_file) as source, output.open("w+b") as output_file:
        buffer = memoryview(bytearray(source.info.layout.nbytes))
        encoder = open_encoder(output_file, output.suffix.removeprefix("."), source.info, Encoding(), threads=threads)
        for part in source.read():
            if isinstance(part, AudioPacket):
                continue
            part.copy_into(buffer)
            encoder.write(buffer, part.pts, part.duration)
            frames += 1
        encoder.close()
    return frames


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
