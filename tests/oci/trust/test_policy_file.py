from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from trust_shop import key

from veilbox.core.digest import Digest
from veilbox.core.errors import UsageError
from veilbox.oci.trust.policy import REFUSE_ALL, Attestation, Rule, TrustPolicy, fits
from veilbox.oci.trust.policy_file import read_policy

D1, D2 = ("sha256:" + digit * 64 for digit in "12")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for who in ("alice", "bob"):
        (tmp_path / f"{who}.pub").write_text(key(who).public.pem)
    return tmp_path


def policy(folder: Path, text: str, name: str = "policy.toml") -> TrustPolicy:
    path = folder / name
    path.write_text(text)
    return read_policy(path)


FULL = f"""
version = 1

[keys.release]
file = "alice.pub"
not_after = 2027-01-01T01:00:00+01:00

[keys.second]
pem = '''
{{pem}}'''

[[rules]]
images = ["r.example/veilbox/**", "ingest"]
keys = ["release", "second"]
threshold = 2
identity = ["r.example/veilbox/*"]
attestations = ["sbom", "provenance"]
bases = ["{D1}"]
max_age_days = 90
forbidden_packages = ["pkg:deb/debian/xz-utils@5.6.*"]
minimum_version = "0.2"
allow_downgrade = true

[[rules]]
images = ["**"]

[revoked]
keys = ["{D1}"]
digests = ["{D2}"]
"""


def test_everything_that_a_policy_can_say(folder: Path) -> None:
    read = policy(folder, FULL.replace("{pem}", key("bob").public.pem))
    assert read.keys["release"].public == key("alice").public
    assert read.keys["release"].not_after == datetime(2027, 1, 1, tzinfo=UTC)
    assert read.keys["second"].public == key("bob").public
    assert read.revoked_keys == {Digest(D1)}
    assert read.revoked_digests == {Digest(D2)}
    assert read.rule("ingest") == Rule(
        images=("r.example/veilbox/**", "ingest"),
        keys=("release", "second"),
        threshold=2,
        identity=("r.example/veilbox/*",),
        attestations=frozenset(Attestation),
        bases=frozenset({Digest(D1)}),
        max_age=timedelta(days=90),
        forbidden_packages=("pkg:deb/debian/xz-utils@5.6.*",),
        minimum_version="0.2",
        allow_downgrade=True,
    )
    assert read.rule("r.example/veilbox/a/b:1") == read.rule("ingest")
    assert read.rule("other/x") == Rule(images=("**",))


def test_json_says_the_same_as_toml(folder: Path) -> None:
    document = {"version": 1, "keys": {"a": {"file": "alice.pub"}}, "rules": [{"images": ["*"], "keys": ["a"]}]}
    read = policy(folder, json.dumps(document), "policy.json")
    toml = policy(folder, 'version = 1\nkeys.a.file = "alice.pub"\n[[rules]]\nimages = ["*"]\nkeys = ["a"]\n')
    assert (read.keys, read.rules) == (toml.keys, toml.rules)
    assert read.digest == Digest.of((folder / "policy.json").read_bytes())


def test_without_a_policy_no_name_has_a_rule() -> None:
    assert REFUSE_ALL.rule("ingest") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "version"),
        ("version = 2", "unknown version"),
        ("version = 1\nruels = []", "unknown field"),
        ("version = 1\n[[rules]]\nimages = []", "rule without images"),
        ('version = 1\n[[rules]]\nimages = ["*"]\nkeys = ["a"]', "keys that are not there"),
        (
            'version = 1\n[keys.a]\nfile = "alice.pub"\n[[rules]]\nimages = ["*"]\nkeys = ["a", "a"]',
            "names a key twice",
        ),
        (
            'version = 1\n[keys.a]\nfile = "alice.pub"\n[[rules]]\nimages = ["*"]\nkeys = ["a"]\nthreshold = 2',
            "cannot be met",
        ),
        (
            'version = 1\n[keys.a]\nfile = "alice.pub"\n[[rules]]\nimages = ["*"]\nkeys = ["a"]\nthreshold = 0',
            "cannot be met",
        ),
        (
            'version = 1\nkeys.a.file = "alice.pub"\n[[rules]]\nimages = ["*"]\nkeys = ["a"]\naccept_unsigned = true',
            "has keys and accepts",
        ),
        ('version = 1\n[keys.a]\nfile = "alice.pub"\n[keys.b]\nfile = "alice.pub"', "same key has two names"),
        ('version = 1\n[keys.a]\nfile = "nobody.pub"', "cannot be read"),
        ("version = 1\n[keys.a]\n", "either file or pem"),
        ('version = 1\n[keys.a]\npem = "x"', "not a key file"),
        ('version = 1\n[keys.a]\nfile = "alice.pub"\nnot_after = 2027-01-01T00:00:00', "without a zone"),
        ('version = 1\n[[rules]]\nimages = ["*"]\nmax_age_days = 0', "out of bounds"),
        ('version = 1\n[[rules]]\nimages = ["*"]\nattestations = ["sbmo"]', "Invalid enum value"),
        ('version = 1\n[[rules]]\nimages = ["*"]\nbases = ["latest"]', "not a digest"),
        ('version = 1\n[revoked]\nkeys = ["alice"]', "not a digest"),
        ("version = 1 #" + "x" * (1 << 20), "too large"),
    ],
)
def test_a_policy_that_is_half_understood_is_none(folder: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        policy(folder, text)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("pattern", "name", "holds"),
    [
        ("*", "ingest", True),
        ("*", "a/b", False),
        ("**", "a/b", True),
        ("r/*", "r/x:1", True),
        ("r/*", "r/x/y", False),
        ("r/**", "r/x/y", True),
        ("detect-*", "detect-centerface", True),
        ("a.b", "axb", False),
        ("ingest", "ingest2", False),
        ("[ab]", "a", False),
    ],
)
def test_patterns(pattern: str, name: str, holds: bool) -> None:
    assert fits(pattern, name) is holds


# containers-policy.json


def containers(**scopes: object) -> str:
    return json.dumps({"default": [{"type": "reject"}], "transports": {"docker": scopes}})


def signed_by(*who: str, identity: object = None, **more: object) -> dict[str, object]:
    paths: dict[str, object] = (
        {"keyPath": f"{who[0]}.pub"} if len(who) == 1 else {"keyPaths": [f"{one}.pub" for one in who]}
    )
    chosen = {"type": "matchRepository"} if identity is None else identity
    return {"type": "sigstoreSigned", "signedIdentity": chosen} | paths | more


def test_the_most_specific_scope_decides(folder: Path) -> None:
    text = containers(
        **{
            "r.example": [{"type": "reject"}],
            "r.example/team": [signed_by("alice")],
            "r.example/team/app": [signed_by("bob")],
            "*.example": [signed_by("alice", "bob")],
        }
    )
    read = policy(folder, text, "policy.json")

    def keys(name: str) -> list[object]:
        rule = read.rule(name)
        assert rule is not None
        return [read.keys[one].public for one in rule.keys]

    assert keys("r.example/x") == []
    assert keys("r.example/team/other:1") == [key("alice").public]
    assert keys("r.example/team/app:1") == keys("r.example/team/app@sha256:1") == [key("bob").public]
    assert keys("r.example/team/app2:1") == [key("alice").public]
    assert keys("s.example/a/b") == [key("alice").public, key("bob").public]
    assert keys("elsewhere/x") == keys("ingest") == []


def test_several_requirements_are_a_threshold(folder: Path) -> None:
    read = policy(folder, containers(**{"r/a": [signed_by("alice"), signed_by("bob")]}), "policy.json")
    rule = read.rule("r/a:1")
    assert rule is not None
    assert (len(rule.keys), rule.threshold) == (2, 2)


def test_anything_is_accepted_only_where_it_is_named(folder: Path) -> None:
    read = policy(folder, containers(**{"r/a": [{"type": "insecureAcceptAnything"}]}), "policy.json")
    rule = read.rule("r/a:1")
    assert rule is not None
    assert rule.accept_unsigned
    other = read.rule("r/b:1")
    assert other is not None
    assert not other.accept_unsigned


def test_an_exact_repository(folder: Path) -> None:
    identity = {"type": "exactRepository", "dockerRepository": "up.example/app"}
    read = policy(folder, containers(**{"mirror/app": [signed_by("alice", identity=identity)]}), "policy.json")
    rule = read.rule("mirror/app:1")
    assert rule is not None
    assert rule.identity == ("up.example/app",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps({"default": [{"type": "insecureAcceptAnything"}]}), "default accepts anything"),
        (json.dumps({"default": [{"type": "reject"}], "transports": {"atomic": {}}}), "other than docker"),
        (containers(a=[{"type": "signedBy"}]), "cannot check"),
        (containers(a=[{"type": "signedBy", "keyType": "GPGKeys"}]), "cannot keep"),
        (containers(a=[signed_by("alice", rekorPublicKeyPath="x")]), "cannot keep"),
        (containers(a=[signed_by("alice", identity={})]), "identity"),
        (containers(a=[signed_by("alice", identity={"type": "matchRepoDigestOrExact"})]), "identity"),
        (containers(a=[signed_by("alice", identity={"type": "remapIdentity", "prefix": "a"})]), "identity"),
        (containers(a=[{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}}]), "exactly one kind"),
        (containers(a=[signed_by("alice", keyData="AAAA")]), "exactly one kind"),
        (containers(a=[signed_by("alice", "bob"), signed_by("alice")]), "choice of keys"),
        (containers(a=[]), "cannot check"),
    ],
)
def test_what_cannot_be_kept_faithfully_is_refused(folder: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        policy(folder, text, "policy.json")
