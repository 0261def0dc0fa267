"""What a store remembers of trust: its policy, the key of this machine, the highest version of each image that ran.

`trust/policy.toml`, `trust/local.key` (0600) and `local.pub`, `trust/seen.json`, below the image store's root. Whoever
may write them may also replace the images; they protect from whoever can only reach the images.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image.layout import durable_rename, locked
from veilbox.oci.image.wire import canonical
from veilbox.oci.trust.keys import PrivateKey, PublicKey
from veilbox.oci.trust.policy import REFUSE_ALL, TrustPolicy
from veilbox.oci.trust.policy_file import read_policy
from veilbox.oci.trust.verify import newer

POLICY_VARIABLE = "VEILBOX_TRUST_POLICY"

# The key of this machine is held by the folder's permissions: a passphrase would lie beside it.
_NO_PASSPHRASE = b""

_FIRST_POLICY = """\
# Which images may run here. Written by the first `veilbox image build`; yours to change.
# See docs/reference/trust-policy.md.
version = 1

# Made on this machine by the first build: "what I built here".
[keys.local]
file = "local.pub"

# Every image by its short name, which is how jobs ask for them. Nothing else may run.
[[rules]]
images = ["*"]
keys = ["local"]
attestations = ["sbom", "provenance"]
"""


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The folder `trust/` of an image store.

    Attributes:
        root: The folder; made when something is stored.
    """

    root: Path

    @property
    def policy_path(self) -> Path:
        """`$VEILBOX_TRUST_POLICY` if set, else `policy.toml` here."""
        chosen = os.environ.get(POLICY_VARIABLE)
        return Path(chosen) if chosen else self.root / "policy.toml"

    def policy(self) -> TrustPolicy:
        """What this machine accepts; nothing at all if there is no policy yet.

        Raises:
            UsageError: The policy cannot be read, or was named and is not there.
        """
        path = self.policy_path
        if not path.exists() and POLICY_VARIABLE not in os.environ:
            return REFUSE_ALL
        return read_policy(path)

    def local_public(self) -> PublicKey | None:
        """The public half of the machine's key, or None before the first build."""
        try:
            return PublicKey.parse((self.root / "local.pub").read_text("utf-8"))
        except FileNotFoundError:
            return None

    def local_key(self) -> PrivateKey:
        """The key of this machine, made with a policy that trusts it when there is none.

        Raises:
            MachineError: It cannot be read or stored.
            UsageError: The file is damaged.
        """
        path = self.root / "local.key"
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            with locked(self.root / ".lock"):
                if path.exists():
                    key = PrivateKey.parse(path.read_text("utf-8"), _NO_PASSPHRASE)
                else:
                    key = PrivateKey.generate()
                    self._write("local.pub", key.public.pem.encode(), 0o644)
                    self._write("local.key", key.encrypted(_NO_PASSPHRASE).encode(), 0o600)
                if not (self.root / "policy.toml").exists():
                    self._write("policy.toml", _FIRST_POLICY.encode(), 0o644)
                return key
        except OSError as error:
            raise MachineError(
                "the machine's signing key cannot be read or stored",
                where=str(error.filename or path),
                actual=error.strerror or str(error),
                advice="Build as the user who owns the store, or set VEILBOX_HOME to a folder that you may write",
            ) from error

    def seen(self, name: str) -> str:
        """The highest version of an image that was ever admitted here; empty if none was.

        Raises:
            ImageError: The memory is damaged: then nobody knows what a downgrade is.
        """
        return self._seen().get(name, "")

    def remember(self, name: str, version: str) -> None:
        """Note that a version was admitted; only a higher one changes anything."""
        if not version or not newer(version, self.seen(name) or "0"):
            return
        # Who may not write here may not put an older image here either.
        with suppress(PermissionError), locked(self.root / ".lock"):
            seen = self._seen()
            if newer(version, seen.get(name) or "0"):
                self._write("seen.json", canonical({**seen, name: version}), 0o644)

    def _seen(self) -> dict[str, str]:
        path = self.root / "seen.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ImageError("the memory of versions is damaged", where=str(path), actual=str(error)) from error

    def _write(self, name: str, content: bytes, mode: int) -> None:
        with tempfile.NamedTemporaryFile(dir=self.root, prefix=".new-", delete=False) as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        durable_rename(Path(file.name), self.root / name)
