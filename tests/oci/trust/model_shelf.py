"""A store for models, with keys and a policy: what the tests of models start from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from trust_shop import NOW, key

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust
from veilbox.oci.image.lease import lease
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.admit import RunnableModel, settle_model
from veilbox.oci.models.artifact import ModelArtifact, make_artifact
from veilbox.oci.models.shelf import held
from veilbox.oci.models.sign import sign_model
from veilbox.oci.trust.policy_file import read_policy
from veilbox.oci.trust.store import TrustStore
from veilbox.oci.trust.verify import Clause

REFERENCE = "r.example/veilbox/model-finder"
CARD: dict[str, Any] = {
    "name": "finder",
    "classes": ["face"],
    "licence": "MIT",
    "source": "made here",
    "training_data": "drawings",
    "recall": [{"of": "face", "value": 0.9, "on": "10 drawings"}],
    "input": {},
}


@dataclass(frozen=True, kw_only=True)
class Shelf:
    store: ImageStore
    folder: Path

    def make(self, weights: bytes = b"weights", *, sign: str = "alice", **changes: Any) -> ModelArtifact:
        (self.folder / "m.onnx").write_bytes(weights)
        (self.folder / "card.json").write_text(json.dumps(CARD | changes))
        made = make_artifact(self.store, self.folder / "m.onnx", self.folder / "card.json")
        if sign:
            self.sign(made, sign)
        return made

    def sign(self, made: ModelArtifact, who: str, *, reference: str = REFERENCE, now: datetime = NOW) -> None:
        sign_model(self.store, made, key(who), reference=reference, now=now)

    def policy(self, rule: str = "", *, head: str = "", keys: str = '["alice"]', more: str = "") -> None:
        trust = self.store.root / "trust"
        trust.mkdir(exist_ok=True)
        for who in ("alice", "bob"):
            (trust / f"{who}.pub").write_text(key(who).public.pem)
        named = "".join(f'[keys.{who}]\nfile = "{who}.pub"\n{more}\n' for who in ("alice", "bob"))
        text = f'version = 1\n{named}[[rules]]\nimages = ["model-*"]\nkeys = {keys}\n{rule}\n{head}\n'
        (trust / "policy.toml").write_text(text)

    def trust(self, now: datetime = NOW) -> Trust:
        store = TrustStore(self.store.root / "trust")
        return Trust(store=store, policy=read_policy(store.policy_path), now=now)

    def settle(self, made: ModelArtifact, *, now: datetime = NOW) -> RunnableModel:
        with lease(self.store.root) as kept:
            return settle_model(self.store, made.descriptor, kept, trust=self.trust(now))

    def refused(self, made: ModelArtifact, clause: Clause, words: str = "", *, now: datetime = NOW) -> None:
        with pytest.raises(ImageError, match=rf"model-finder: refused by clause {clause.number}, {clause}: .*{words}"):
            self.settle(made, now=now)
        assert held(self.store) == {}

    def blob(self, digest: Digest) -> Path:
        return self.store.layout.root / "blobs" / "sha256" / digest.hex
