"""`containers-policy.json` of podman and skopeo, as far as it means the same here; anything else is refused.

Source: containers/image, docs/containers-policy.json.5.md. Only the `docker` transport and the default are taken; GPG
(`signedBy`), keyless (`fulcio`, `pki`) and transparency logs (`rekorPublicKey...`) are not known here, and to leave out
a requirement would be to weaken it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError
from veilbox.oci.trust.keys import PublicKey
from veilbox.oci.trust.policy import Key, Rule, TrustPolicy

_ADVICE = "Write a trust policy of veilbox's own instead"
_KEYS = ("keyPath", "keyPaths", "keyData", "keyDatas")


class _Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    type: str
    key_path: str = ""
    key_paths: tuple[str, ...] = ()
    key_data: str = ""
    key_datas: tuple[str, ...] = ()
    signed_identity: dict[str, str] | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: tuple[_Requirement, ...]
    transports: dict[str, dict[str, tuple[_Requirement, ...]]] = {}


def is_containers_policy(raw: bytes) -> bool:
    """Whether JSON is meant as such a file: it has a default for everything, which ours has not."""
    try:
        document: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(document, dict) and "default" in document


def parse_containers_policy(raw: bytes, *, folder: Path) -> TrustPolicy:
    """The same policy in our words.

    Args:
        raw: The file.
        folder: Where relative key paths begin.

    Raises:
        UsageError: It is no such file, or says what cannot be said faithfully here.
        OSError: A key file cannot be read.
    """
    try:
        file = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            "containers policy says what veilbox cannot keep", actual=str(error), advice=_ADVICE
        ) from error
    if any(one.type == "insecureAcceptAnything" for one in file.default):
        raise UsageError("the default accepts anything", expected="reject, and repositories by name", advice=_ADVICE)
    unknown = sorted(file.transports.keys() - {"docker"})
    if unknown:
        raise UsageError("transports other than docker", actual=", ".join(unknown), advice=_ADVICE)
    scopes = file.transports.get("docker", {})
    keys: dict[Digest, Key] = {}
    # The most specific scope decides there, the first rule here: longer ones first, wildcards after all others.
    ordered = sorted(scopes, key=lambda scope: (scope.startswith("*."), -len(scope), scope))
    rules = [_rule(scope, scopes[scope], keys, folder) for scope in ordered if scope]
    rules.append(_rule("", scopes.get("", file.default), keys, folder))
    return TrustPolicy(digest=Digest.of(raw), keys={key.name: key for key in keys.values()}, rules=tuple(rules))


def _rule(scope: str, requirements: tuple[_Requirement, ...], keys: dict[Digest, Key], folder: Path) -> Rule:
    images = _patterns(scope)
    kinds = {requirement.type for requirement in requirements}
    if "reject" in kinds:
        return Rule(images=images)  # all must hold, and this one never does
    if kinds == {"insecureAcceptAnything"}:
        return Rule(images=images, accept_unsigned=True)
    if kinds != {"sigstoreSigned"}:
        raise UsageError(
            "requirement that veilbox cannot check", where=scope, actual=", ".join(sorted(kinds)) or "none"
        )
    groups = [tuple(_keys(requirement, keys, folder)) for requirement in requirements]
    threshold = len(groups)
    named = tuple(key.name for group in groups for key in group)
    if threshold > 1 and (any(len(group) != 1 for group in groups) or len(set(named)) != len(named)):
        raise UsageError("several requirements with a choice of keys each", where=scope, advice=_ADVICE)
    identities = {tuple(sorted((one.signed_identity or {}).items())) for one in requirements}
    if len(identities) != 1:
        raise UsageError("requirements with different identities", where=scope, advice=_ADVICE)
    identity = _identity(dict(identities.pop()), scope)
    named = tuple(dict.fromkeys(named))
    # podman and skopeo ask for a signature of the image that they take from an index, not of the index.
    return Rule(images=images, keys=named, threshold=threshold, identity=identity, manifest_only=True)


def _patterns(scope: str) -> tuple[str, ...]:
    if not scope:
        return ("**",)
    if scope.startswith("*."):  # a host below a domain
        return (f"*{scope[1:]}/**",)
    return (scope, f"{scope}/**", f"{scope}:*", f"{scope}@*")


def _identity(identity: dict[str, str], scope: str) -> tuple[str, ...]:
    kind = identity.get("type", "")
    if kind == "exactRepository":
        return (identity.get("dockerRepository", ""),)
    if kind == "matchRepository":
        return ()  # the repository that is asked for is the one that must have been signed
    # The default there wants the tag signed too, which cosign does not do; to take less would be to weaken it.
    raise UsageError("identity that veilbox cannot check", where=scope, actual=kind, advice=_ADVICE)


def _keys(requirement: _Requirement, known: dict[Digest, Key], folder: Path) -> Iterator[Key]:
    given = [name for name in ("key_path", "key_paths", "key_data", "key_datas") if getattr(requirement, name)]
    if len(given) != 1:
        raise UsageError("requirement needs exactly one kind of key", expected=" or ".join(_KEYS), advice=_ADVICE)
    paths = (*requirement.key_paths, *filter(None, [requirement.key_path]))
    pems = [(folder / path).read_text("utf-8", "replace") for path in paths]
    for data in (*requirement.key_datas, *filter(None, [requirement.key_data])):
        try:
            pems.append(base64.b64decode(data, validate=True).decode("utf-8"))
        except ValueError as error:
            raise UsageError("key data is not base64 of a PEM file", actual=str(error)) from error
    for pem in pems:
        public = PublicKey.parse(pem)
        yield known.setdefault(public.key_id, Key(name=f"key{len(known) + 1}", public=public))
