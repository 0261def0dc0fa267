"""Run the commands of a Markdown file: `python scripts/readme.py README.md`.

A fenced `sh` block runs if the line above it is `<!-- run -->`; it runs in the checkout, with the environment's
programs on the path, and the first command that fails ends it all. tests/test_readme.py holds the blocks that do not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

_BLOCK = re.compile(r"(?P<mark><!-- run -->\n)?^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# A README's command that takes longer is not one to show to a newcomer.
_TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One fenced block of shell commands.

    Attributes:
        text: Its lines.
        runs: Whether it carries the mark.
    """

    text: str
    runs: bool

    @property
    def commands(self) -> tuple[str, ...]:
        """One string for each command, continued lines joined, comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return tuple(" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#"))


def blocks(markdown: str) -> tuple[Block, ...]:
    """Every `sh` block of a document, in its order."""
    return tuple(Block(text=match["text"], runs=match["mark"] is not None) for match in _BLOCK.finditer(markdown))


def run(block: Block) -> int:
    """Run a block's commands and show each before it runs.

    Returns:
        The shell's exit status.
    """
    path = f"{CHECKOUT / '.venv' / 'bin'}:{os.environ['PATH']}"
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-v", "-c", block.text],  # noqa: S607
        cwd=CHECKOUT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return finished.returncode


def main() -> int:
    """Run every marked block of the files named on the command line."""
    for name in sys.argv[1:]:
        for block in blocks(Path(name).read_text(encoding="utf-8")):
            if block.runs and (status := run(block)):
                print(f"{name}: exit status {status} from:\n{block.text}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
