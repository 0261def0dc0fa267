"""The typefaces that plates are drawn with, by the role they play.

They come from Debian packages that `README.md` lists; none of them is copied into the project, and what a face lacks
Pillow's own built-in face replaces, so that the renderer runs, less varied, on a machine without any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from PIL import ImageFont

# Role -> file names. Latin plates use condensed road-sign faces (DIN in much of Europe and South America, FE-Schrift
# and Charles Wright have no free copy in Debian); the others must own the script's letters.
ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "latin": (
            "OSP-DIN.ttf",
            "LiberationSansNarrow-Bold.ttf",
            "LiberationSans-Bold.ttf",
            "RG2014C.ttf",
            "RG2014D.ttf",
            "BebasNeue-Bold.otf",
            "BebasNeue-Regular.otf",
            "DejaVuSans-Bold.ttf",
            "LiberationMono-Bold.ttf",
        ),
        "cjk": ("wqy-zenhei.ttc",),
        "arabic": ("KacstOne-Bold.ttf", "KacstOne.ttf"),
        "thai": ("ArundinaSans-Bold.ttf",),
        "cyrillic": ("LiberationSansNarrow-Bold.ttf", "FreeSansBold.ttf", "DejaVuSans-Bold.ttf"),
        "small": ("LiberationSans-Bold.ttf", "DejaVuSans-Bold.ttf", "FreeSerifItalic.ttf", "LiberationSans-Italic.ttf"),
    }
)


class FontBook:
    """The faces that were found on this machine.

    Args:
        folders: Searched recursively; the first file of a name counts.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        files = [path for folder in folders for path in sorted(folder.rglob("*.[ot]t[fc]"))]
        known = {path.name: path for path in reversed(files)}
        self._faces = {role: [known[name] for name in names if name in known] for role, names in ROLES.items()}

    def faces(self, role: str) -> int:
        """How many faces a role has; at least 1, since Pillow's own stands in."""
        return max(1, len(self._faces[role]))

    def face(self, role: str, index: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """One face of a role.

        Args:
            role: A key of `ROLES`.
            index: Any number; it wraps around.
            size: Pixels of the em square.
        """
        faces = self._faces[role]
        return _loaded(faces[index % len(faces)] if faces else None, size)


@lru_cache(maxsize=512)
def _loaded(path: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
