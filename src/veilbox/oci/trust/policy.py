"""Which images may run: rules by name, keys, and what is revoked. Values only; `policy_file` reads them.

The first rule whose pattern fits an image's name decides. Without a rule an image is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError
from veilbox.oci.trust.keys import PublicKey


class Attestation(StrEnum):
    """What may be demanded besides a signature."""

    SBOM = "sbom"
    PROVENANCE = "provenance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A key that rules may name.

    Attributes:
        name: In the policy.
        public: The key.
        not_after: From then on nothing that it signed counts. There is no trusted clock in a signature, so a key that
            was lost must be revoked or expire; it cannot be trusted for the past.
    """

    name: str
    public: PublicKey
    not_after: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What images of some names must fulfil.

    Attributes:
        images: Patterns of names: `*` stands for anything but a slash, `**` for anything.
        keys: Names of keys, each of which may sign. Without any, and without `accept_unsigned`, the rule refuses.
        threshold: How many of them must have signed.
        accept_unsigned: Nothing of this rule but `bases` and revocation is checked. Only explicitly.
        identity: Patterns, one of which the signed repository must fit. Without any it must be the repository that is
            asked for; for an image that is asked for by its short name, its last part must be that name.
        attestations: What an allowed key must have attested.
        bases: Digests of the only allowed first layers; any if empty.
        max_age: How long ago an image may have been signed.
        forbidden_packages: Patterns of package addresses (purl) or names in the SBOM.
        minimum_version: The oldest version that may run.
        allow_downgrade: Whether an older version may follow a newer one.
        manifest_only: A signature of the index through which the image was pulled does not count.
    """

    images: tuple[str, ...]
    keys: tuple[str, ...] = ()
    threshold: int = 1
    accept_unsigned: bool = False
    identity: tuple[str, ...] = ()
    attestations: frozenset[Attestation] = frozenset()
    bases: frozenset[Digest] = frozenset()
    max_age: timedelta | None = None
    forbidden_packages: tuple[str, ...] = ()
    minimum_version: str = ""
    allow_downgrade: bool = False
    manifest_only: bool = False

    def __post_init__(self) -> None:
        if not self.images:
            raise UsageError("rule without images", where="trust policy", expected="at least one pattern")
        if len(set(self.keys)) != len(self.keys):
            raise UsageError("rule names a key twice", where="trust policy", actual=", ".join(self.keys))
        if self.accept_unsigned and self.keys:
            raise UsageError("rule has keys and accepts what is unsigned", where="trust policy")
        if self.keys and not 1 <= self.threshold <= len(self.keys):
            raise UsageError(
                "threshold cannot be met",
                where="trust policy",
                expected=f"1 to {len(self.keys)}, the number of keys",
                actual=str(self.threshold),
            )

    def covers(self, name: str) -> bool:
        """Whether an image's name fits."""
        return any(fits(pattern, name) for pattern in self.images)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustPolicy:
    """All of it.

    Attributes:
        keys: By name.
        rules: The first that covers a name decides.
        revoked_keys: Ids of keys that never count, whatever a rule says.
        revoked_digests: Manifests, indexes, layers or models' weights that never run.
        models: By model, the digests of which one must be the weights' or the artifact's; a model that is not in it is
            not pinned.
        digest: Of the file's bytes, for reports.
    """

    digest: Digest
    keys: Mapping[str, Key] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[Rule, ...] = ()
    revoked_keys: frozenset[Digest] = frozenset()
    revoked_digests: frozenset[Digest] = frozenset()
    models: Mapping[str, frozenset[Digest]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        unknown = sorted({name for rule in self.rules for name in rule.keys} - self.keys.keys())
        if unknown:
            raise UsageError("rule names keys that are not there", where="trust policy", actual=", ".join(unknown))
        # One key under two names would count twice for a threshold.
        if len({key.public.key_id for key in self.keys.values()}) != len(self.keys):
            raise UsageError("the same key has two names", where="trust policy")

    def rule(self, name: str) -> Rule | None:
        """The rule that decides about an image; None refuses it."""
        return next((rule for rule in self.rules if rule.covers(name)), None)


# Without a policy nothing runs.
REFUSE_ALL = TrustPolicy(digest=Digest.of(b""))


def fits(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern: `*` stands for anything but a slash, `**` for anything, the rest for itself."""
    return _expression(pattern).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts), re.DOTALL)
