"""`python -m veilbox.components NAME`: the one entry point of every component image."""

import time

# Before every other import: start-up is reported from the first instruction of ours.
_FIRST_NS = time.monotonic_ns()

import sys  # noqa: E402

from veilbox.components.entry import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], first_ns=_FIRST_NS))
