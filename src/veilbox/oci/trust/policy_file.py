"""The door from a trust policy's file to its values: TOML or JSON of ours, or a `containers-policy.json`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.trust.containers_policy import is_containers_policy, parse_containers_policy
from veilbox.oci.trust.keys import PublicKey
from veilbox.oci.trust.policy import Attestation, Key, Rule, TrustPolicy

_ADVICE = "See docs/reference/trust-policy.md"
_MAX_BYTES = 1 << 20


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: str = ""
    pem: str = ""
    not_after: datetime | None = None


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    images: tuple[str, ...]
    keys: tuple[str, ...] = ()
    threshold: int = 1
    accept_unsigned: bool = False
    identity: tuple[str, ...] = ()
    attestations: frozenset[Attestation] = frozenset()
    bases: tuple[str, ...] = ()
    max_age_days: int | None = None
    forbidden_packages: tuple[str, ...] = ()
    minimum_version: str = ""
    allow_downgrade: bool = False


class _Revoked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()


class _Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: dict[str, _Key] = {}
    rules: tuple[_Rule, ...] = ()
    revoked: _Revoked = _Revoked()
    models: dict[str, tuple[str, ...]] = {}


def read_policy(path: Path) -> TrustPolicy:
    """Read a policy file and the key files that it names.

    Args:
        path: `.json` is read as JSON, everything else as TOML.

    Raises:
        UsageError: It is not there, or not a policy: a policy that is half understood is none.
    """
    try:
        raw = path.read_bytes()
        return parse_policy(raw, folder=path.parent, as_json=path.suffix == ".json")
    except OSError as error:
        raise UsageError(
            "cannot be read", where=str(error.filename or path), actual=error.strerror or str(error), advice=_ADVICE
        ) from error
    except (ImageError, UsageError) as error:
        raise UsageError(
            error.what,
            where=f"{path}: {error.where}" if error.where else str(path),
            expected=error.expected,
            actual=error.actual,
            advice=error.advice or _ADVICE,
        ) from error


def policy_of_key(path: Path) -> TrustPolicy:
    """A policy that asks of every image one thing: this key's signature, whatever name and repository it was for.

    Args:
        path: The public key's file.

    Raises:
        UsageError: It cannot be read, or is none.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError("cannot be read", where=str(path), actual=error.strerror or str(error)) from error
    key = Key(name=path.name, public=PublicKey.parse(raw.decode("utf-8", "replace")))
    rule = Rule(images=("**",), keys=(key.name,), identity=("**",), allow_downgrade=True)
    return TrustPolicy(digest=Digest.of(raw), keys={key.name: key}, rules=(rule,))


def parse_policy(raw: bytes, *, folder: Path, as_json: bool) -> TrustPolicy:
    """A policy from its bytes.

    Args:
        raw: The file.
        folder: Where the key files' names begin.
        as_json: Whether it is JSON; otherwise TOML.

    Raises:
        UsageError: It is no policy.
        ImageError: A digest in it is none.
        OSError: A key file cannot be read.
    """
    if len(raw) > _MAX_BYTES:
        raise UsageError("trust policy is too large", expected=f"at most {_MAX_BYTES} bytes", actual=str(len(raw)))
    if as_json and is_containers_policy(raw):
        return parse_containers_policy(raw, folder=folder)
    try:
        wire = msgspec.json.decode(raw, type=_Policy) if as_json else msgspec.toml.decode(raw, type=_Policy)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("not a trust policy", actual=str(error), advice=_ADVICE) from error
    if wire.version != 1:
        raise UsageError("unknown version of trust policy", expected="1", actual=str(wire.version))
    return TrustPolicy(
        digest=Digest.of(raw),
        keys={name: _key(name, key, folder) for name, key in wire.keys.items()},
        rules=tuple(_rule(rule) for rule in wire.rules),
        revoked_keys=frozenset(map(Digest, wire.revoked.keys)),
        revoked_digests=frozenset(map(Digest, wire.revoked.digests)),
        models={name: frozenset(map(Digest, digests)) for name, digests in wire.models.items()},
    )


def _key(name: str, wire: _Key, folder: Path) -> Key:
    if bool(wire.file) == bool(wire.pem):
        raise UsageError("key needs either file or pem", where=f"keys.{name}")
    if wire.not_after is not None and wire.not_after.tzinfo is None:
        raise UsageError("time without a zone", where=f"keys.{name}.not_after", expected="2027-01-01T00:00:00Z")
    pem = wire.pem or (folder / wire.file).read_text("utf-8", "replace")
    not_after = wire.not_after.astimezone(UTC) if wire.not_after else None
    return Key(name=name, public=PublicKey.parse(pem), not_after=not_after)


def _rule(wire: _Rule) -> Rule:
    if wire.max_age_days is not None and not 0 < wire.max_age_days <= 36_500:
        raise UsageError("out of bounds", where="max_age_days", expected="1 to 36500", actual=str(wire.max_age_days))
    return Rule(
        images=wire.images,
        keys=wire.keys,
        threshold=wire.threshold,
        accept_unsigned=wire.accept_unsigned,
        identity=wire.identity,
        attestations=wire.attestations,
        bases=frozenset(map(Digest, wire.bases)),
        max_age=None if wire.max_age_days is None else timedelta(days=wire.max_age_days),
        forbidden_packages=wire.forbidden_packages,
        minimum_version=wire.minimum_version,
        allow_downgrade=wire.allow_downgrade,
    )
