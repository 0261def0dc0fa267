"""What the disk says to whoever writes an output, in the tree's words."""

from __future__ import annotations

import errno

from veilbox.core.errors import OutputError


def output_error(error: OSError) -> OutputError:
    """The tree's error for a file that cannot be written."""
    # A job's outputs may have what was free on the disk when it began: beyond it a file is too large.
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return OutputError(
        "the disk is full" if full else "the output cannot be written",
        actual=error.strerror or type(error).__name__,
        advice="Free some space and start again" if full else "",
    )
