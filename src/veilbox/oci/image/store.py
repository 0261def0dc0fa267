"""Where images and unpacked layers are on this machine."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import MachineError
from veilbox.oci.image.layout import Layout
from veilbox.oci.image.unpack import UNFINISHED, held_folder, layer_path


@dataclass(frozen=True, slots=True)
class ImageStore:
    """One folder with everything: `layout/` (an OCI image layout), `layers/` (unpacked), `cache/` (may be deleted).

    Attributes:
        root: The folder; made when something is stored. On a file system that can be a layer of an overlay.
    """

    root: Path

    @classmethod
    def default(cls) -> ImageStore:
        """The store that the command line uses.

        Returns:
            `$VEILBOX_HOME` if set; else /var/lib/veilbox for root (FHS 3.0, 5.8) and $XDG_DATA_HOME/veilbox, by default
            ~/.local/share/veilbox, for others (XDG base directories 0.8).
        """
        home = os.environ.get("VEILBOX_HOME")
        if home:
            return cls(Path(home).absolute())
        if os.geteuid() == 0:
            return cls(Path("/var/lib/veilbox"))
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return cls(Path(data).expanduser() / "veilbox")

    @property
    def layout(self) -> Layout:
        """The images."""
        return Layout(self.root / "layout")

    @property
    def layers(self) -> Path:
        """The folder of unpacked layers, by the digest of their tar."""
        return self.root / "layers"

    @property
    def cache(self) -> Path:
        """What only makes builds faster."""
        return self.root / "cache"

    def layer(self, diff_id: Digest) -> Path:
        """Where a layer is when it is unpacked."""
        return layer_path(self.layers, diff_id)

    def sweep(self) -> None:
        """Remove what killed builds and pulls left unfinished; what living ones work on is locked and stays."""
        self.layout.sweep()
        for left in self.layers.glob(f"sha256/{UNFINISHED}*"):
            with suppress(BlockingIOError, FileNotFoundError), held_folder(left, wait=False):
                shutil.rmtree(left, ignore_errors=True)

    def prepare(self) -> None:
        """Make the folders; they may be searched by everybody, as the runtimes of unprivileged users must.

        Raises:
            MachineError: They cannot be made.
        """
        try:
            for folder in (self.root, self.layers, self.cache):
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(
                "image store cannot be made",
                where=str(error.filename or self.root),
                actual=error.strerror or str(error),
                advice="Set VEILBOX_HOME to a folder that you may write",
            ) from error
