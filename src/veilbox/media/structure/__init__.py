"""What a file consists of, held against an allow-list: every box, element, chunk, segment and byte has a reason.

Pure parsers over untrusted bytes, one for each format: they decode no pixels and never raise for what a file holds;
what is not allowed, and what cannot be read, becomes a flaw.
"""

from veilbox.media.structure.examine import examine
from veilbox.media.structure.flaws import Allowed, Flaw, Flaws

__all__ = ["Allowed", "Flaw", "Flaws", "examine"]
