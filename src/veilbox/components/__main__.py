"""`python -m veilbox.components NAME`: the one entry point of every component image."""

import time

# Before every other import: start-up is reported from the first instruction of ours.
_FIRST_NS = time.monotonic_ns()

import sys  # noqa: E402

from veilbox.core import places  # noqa: E402
from veilbox.core.errors import VeilboxError  # noqa: E402
from veilbox.seal.lifeline import die_with_parent  # noqa: E402
from veilbox.seal.own_walls import lay_own_walls  # noqa: E402


def _start(arguments: list[str]) -> int:
    """Lay the component's own walls, and only then import what could make a thread."""
    try:
        die_with_parent()
        lay_own_walls(arguments[0] if arguments else "", writable=places.rings())
    except VeilboxError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    from veilbox.components.entry import main  # noqa: PLC0415

    return main(arguments, first_ns=_FIRST_NS)


if __name__ == "__main__":
    sys.exit(_start(sys.argv[1:]))
