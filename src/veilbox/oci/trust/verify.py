"""May this image run? Numbered clauses over values, stopping at the first fault; no I/O, no clock.

`veilbox.oci.admit` reads what is judged here, and holds the clauses that need the machine (name, recipe, layers, user).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.spec import TITLE, ImageConfig, Manifest
from veilbox.oci.trust.dsse import Envelope, Statement
from veilbox.oci.trust.policy import Attestation, Key, Rule, TrustPolicy, fits
from veilbox.oci.trust.predicates import KINDS, package_names
from veilbox.oci.trust.signature import Claim, Signature

VERSION_LABEL = "org.opencontainers.image.version"

_VERSION = re.compile(r"v?(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<rest>.*)", re.ASCII | re.DOTALL)


class Clause(StrEnum):
    """What is asked of an image, in the order in which it is asked."""

    NAME = "name"
    RULE = "rule"
    REVOCATION = "revocation"
    SIGNATURE = "signature"
    AGE = "age"
    CONFIGURATION = "configuration"
    BASE = "base"
    ATTESTATIONS = "attestations"
    PACKAGES = "packages"
    VERSION = "version"
    RECIPE = "recipe"
    LAYERS = "layers"
    USER = "user"

    @property
    def number(self) -> int:
        """Its place, from 1."""
        return list(Clause).index(self) + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What lies beside an image, not believed yet.

    Attributes:
        signatures: In either form.
        attestations: Envelopes of SBOMs, provenance and other claims.
    """

    signatures: tuple[Signature, ...]
    attestations: tuple[Envelope, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """The image in question.

    Attributes:
        name: By which it was asked for.
        manifest: Its manifest.
        config: Its configuration.
        subjects: What a signature may speak of: the manifest's digest, and the index's through which it was reached.
    """

    name: str
    manifest: Manifest
    config: ImageConfig
    subjects: frozenset[Digest]


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """That an image was admitted, and why.

    Attributes:
        keys: Ids of the keys whose signatures counted; none if the rule accepts what is unsigned.
        policy: The digest of the policy file.
        version: The image's version.
        clauses: Those that held, in order.
    """

    keys: tuple[Digest, ...]
    policy: Digest
    version: str
    clauses: tuple[str, ...]


@contextmanager
def clause(which: Clause, name: str) -> Iterator[None]:
    """Say of every fault of an image inside which clause refused it."""
    try:
        yield
    except ImageError as error:
        what = f"refused by clause {which.number}, {which}: {error.what}"
        if error.where not in {"", name}:
            what += f" ({error.where})"
        raise ImageError(what, where=name, expected=error.expected, actual=error.actual, advice=error.advice) from error


def check_signatures(
    name: str, manifest: Manifest, subjects: frozenset[Digest], evidence: Evidence, policy: TrustPolicy, now: datetime
) -> tuple[Key, ...]:
    """Clauses 2 to 5, which need nothing but the manifest: nothing else of an unsigned image is even looked at.

    Args:
        name: By which the image was asked for.
        manifest: Its manifest.
        subjects: As `Image.subjects`.
        evidence: What lies beside it.
        policy: What this machine accepts.
        now: With a time zone.

    Returns:
        The keys that count for this image.

    Raises:
        ImageError: A clause refuses it.
    """
    # 2. The policy speaks of it.
    with clause(Clause.RULE, name):
        rule = _rule(policy, name)
    # 3. Nobody took it back: not the image, not a layer of it.
    with clause(Clause.REVOCATION, name):
        _not_revoked(policy, {*subjects, *(layer.digest for layer in manifest.layers)})
    if rule.accept_unsigned:
        return ()
    # 4. Enough of the keys that the rule names signed this very manifest as this very image.
    with clause(Clause.SIGNATURE, name):
        keys = _usable(policy, rule, now)
        countable = frozenset({manifest.digest}) if rule.manifest_only else subjects
        signed = _signed(name, manifest, countable, evidence, keys, rule)
        if len(signed) < rule.threshold:
            raise _too_few(rule, signed, evidence)
    # 5. Not too long ago.
    with clause(Clause.AGE, name):
        signed = _recent(rule, signed, now)
    return tuple(key for key, _ in signed)


def check_content(image: Image, evidence: Evidence, keys: Sequence[Key], policy: TrustPolicy, seen: str) -> Admission:
    """Clauses 7 to 10: what is in an image that is signed, and which version it is.

    Args:
        image: The image.
        evidence: What lies beside it.
        keys: What `check_signatures` returned.
        policy: What this machine accepts.
        seen: The highest version of this image that ever ran here; empty if none did.

    Returns:
        The clauses up to here as held.

    Raises:
        ImageError: A clause refuses it.
    """
    rule = _rule(policy, image.name)
    # 7. It stands on a base that the policy knows.
    with clause(Clause.BASE, image.name):
        _based(rule, image.manifest)
    # 8. What must be attested is attested, of this manifest, by keys that may sign it.
    with clause(Clause.ATTESTATIONS, image.name):
        statements = _attested(rule, image, evidence, keys)
    # 9. Nothing forbidden is in it.
    with clause(Clause.PACKAGES, image.name):
        _free_of(rule, statements)
    # 10. It is not older than what it must be or what ran before.
    version = image.config.labels.get(VERSION_LABEL, "")
    with clause(Clause.VERSION, image.name):
        _not_older(rule, version, seen)
    return Admission(
        keys=tuple(key.public.key_id for key in keys),
        policy=policy.digest,
        version=version,
        clauses=tuple(one.value for one in Clause if one.number <= Clause.VERSION.number),
    )


def newer(version: str, other: str) -> bool:
    """Whether a version follows another: numbers by value, then a final release after anything with a suffix.

    Source: PEP 440 and Semantic Versioning agree on this much; suffixes among themselves are compared as text.
    """
    return _ordinal(version) > _ordinal(other)


def _rule(policy: TrustPolicy, name: str) -> Rule:
    rule = policy.rule(name)
    if rule is None or not (rule.keys or rule.accept_unsigned):
        what = "the trust policy has no rule for it" if rule is None else "the trust policy refuses it"
        raise ImageError(what, advice="Build it with `veilbox image build`, or name its keys in the trust policy")
    return rule


def _not_revoked(policy: TrustPolicy, digests: set[Digest]) -> None:
    revoked = sorted(digests & policy.revoked_digests)
    if revoked:
        raise ImageError("it is revoked", actual=str(revoked[0]), advice="Pull or build its successor")


def _usable(policy: TrustPolicy, rule: Rule, now: datetime) -> tuple[Key, ...]:
    named = [policy.keys[name] for name in rule.keys]
    return tuple(
        key
        for key in named
        if key.public.key_id not in policy.revoked_keys and (key.not_after is None or now < key.not_after)
    )


def _signed(
    name: str,
    manifest: Manifest,
    subjects: frozenset[Digest],
    evidence: Evidence,
    keys: tuple[Key, ...],
    rule: Rule,
) -> tuple[tuple[Key, Claim], ...]:
    by_public = {key.public: key for key in keys}
    found: list[tuple[Key, Claim]] = []
    for signature in evidence.signatures:
        try:
            signers = signature.signers(tuple(by_public))
            claim = signature.claim() if signers else None
        except ImageError:
            continue  # whoever may write beside an image may leave rubbish there; it counts as no signature
        if claim and claim.subject in subjects and _identified(name, manifest, claim, rule):
            found.extend((by_public[signer], claim) for signer in signers)
    return _newest(found)


def _newest(found: list[tuple[Key, Claim]]) -> tuple[tuple[Key, Claim], ...]:
    """Each key once, with what it signed last."""
    latest: dict[str, tuple[Key, Claim]] = {}
    for key, claim in found:
        known = latest.get(key.name)
        if known is None or _later(claim, known[1]):
            latest[key.name] = (key, claim)
    return tuple(latest.values())


def _later(claim: Claim, known: Claim) -> bool:
    return claim.signed_at is not None and (known.signed_at is None or claim.signed_at > known.signed_at)


def _identified(name: str, manifest: Manifest, claim: Claim, rule: Rule) -> bool:
    """A good image under another image's name is a bad image."""
    if not claim.reference:  # bundles do not say; the signed manifest's own title does
        stated = manifest.annotations.get(TITLE, "").rpartition(" ")[2]
        return bool(rule.identity) or stated == _short(name)
    if rule.identity:
        return any(fits(pattern, claim.reference) for pattern in rule.identity)
    if "/" in name:
        return _repository(claim.reference) == _repository(name)
    return _short(claim.reference) == name


def _short(reference: str) -> str:
    """`ingest` of `registry:5000/veilbox/ingest:1.0@sha256:...`."""
    return _repository(reference).rpartition("/")[2]


def _repository(reference: str) -> str:
    """`registry:5000/veilbox/ingest` of the same."""
    folder, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _too_few(rule: Rule, signed: tuple[tuple[Key, Claim], ...], evidence: Evidence) -> ImageError:
    return ImageError(
        "not signed by enough of the keys that may" if evidence.signatures else "it is unsigned",
        expected=f"{rule.threshold} of {', '.join(rule.keys)}, neither revoked nor expired",
        actual=f"{len(signed)} that hold, of {len(evidence.signatures)} signatures found",
        advice="Build it with `veilbox image build`, or sign it with `veilbox image sign`",
    )


def _recent(rule: Rule, signed: tuple[tuple[Key, Claim], ...], now: datetime) -> tuple[tuple[Key, Claim], ...]:
    if rule.max_age is None:
        return signed
    # A time in the future is no time: it would make a signature young for ever.
    recent = tuple(
        (key, claim)
        for key, claim in signed
        if claim.signed_at is not None and claim.signed_at <= now <= claim.signed_at + rule.max_age
    )
    if len(recent) < rule.threshold:
        dates = ", ".join(str(claim.signed_at or "no time") for _, claim in signed)
        raise ImageError(
            "signed too long ago, in the future or without saying when",
            expected=f"at most {rule.max_age.days} days old",
            actual=dates,
            advice="Renew it, or sign it again with `veilbox image sign`",
        )
    return recent


def _based(rule: Rule, manifest: Manifest) -> None:
    base = manifest.layers[0].digest if manifest.layers else None
    if rule.bases and base not in rule.bases:
        raise ImageError(
            "its base is not allowed", expected=" or ".join(map(str, sorted(rule.bases))), actual=str(base)
        )


def _attested(rule: Rule, image: Image, evidence: Evidence, keys: Sequence[Key]) -> tuple[Statement, ...]:
    wanted = rule.attestations | ({Attestation.SBOM} if rule.forbidden_packages else frozenset())
    if rule.accept_unsigned or not wanted:
        return ()
    statements = tuple(_statements(image, evidence, keys))
    missing = sorted(wanted - {KINDS[statement.predicate_type] for statement in statements})
    if missing:
        raise ImageError(
            "an attestation is missing, or not of this image, or not by a key that signed it",
            expected=", ".join(missing),
            actual=f"{len(statements)} that hold, of {len(evidence.attestations)} found",
            advice="Build it with `veilbox image build`, or attest it with `veilbox image sign`",
        )
    return statements


def _statements(image: Image, evidence: Evidence, keys: Sequence[Key]) -> Iterator[Statement]:
    public = tuple(key.public for key in keys)
    for envelope in evidence.attestations:
        if not envelope.signers(public):
            continue
        try:
            statement = Statement.parse(envelope.payload)
        except ImageError:
            continue  # signed by a friend and not understood: it is not what is asked for
        # What is said of an index is not said of each image in it: their contents differ.
        if statement.predicate_type in KINDS and image.manifest.digest in statement.subjects:
            yield statement


def _free_of(rule: Rule, statements: Sequence[Statement]) -> None:
    if not rule.forbidden_packages:
        return
    for statement in statements:
        for package in package_names(statement):
            for pattern in rule.forbidden_packages:
                if fits(pattern, package):
                    raise ImageError("it holds a forbidden package", expected=f"nothing like {pattern}", actual=package)


def _not_older(rule: Rule, version: str, seen: str) -> None:
    if rule.minimum_version and (not version or newer(rule.minimum_version, version)):
        raise ImageError("it is too old", expected=f"{rule.minimum_version} or later", actual=version or "no version")
    if seen and not rule.allow_downgrade and (not version or newer(seen, version)):
        raise ImageError(
            "it is older than what ran here before",
            expected=f"{seen} or later",
            actual=version or "no version",
            advice="If you mean it, set allow_downgrade in the trust policy's rule",
        )


def _ordinal(version: str) -> tuple[tuple[int, ...], bool, str]:
    match = _VERSION.fullmatch(version.partition("+")[0])
    if match is None:
        return (), False, version
    numbers = [int(part) for part in match["numbers"].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest = match["rest"]
    return tuple(numbers), not rest, rest
