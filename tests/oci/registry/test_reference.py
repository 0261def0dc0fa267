from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.registry.reference import Reference, Repository, parse_reference, parse_repository

DIGEST = Digest.of(b"x")

GOOD = {
    "registry.example.org/a:1": ("registry.example.org", "a", "1", None),
    "localhost/a/b:1.0-rc1": ("localhost", "a/b", "1.0-rc1", None),
    "localhost:5000/a:1": ("localhost:5000", "a", "1", None),
    "host:5000/a/b__c/d--e.f:_x": ("host:5000", "a/b__c/d--e.f", "_x", None),
    "[::1]:5000/a:1": ("[::1]:5000", "a", "1", None),
    "127.0.0.1:5000/a:1": ("127.0.0.1:5000", "a", "1", None),
    f"h.io/a@{DIGEST}": ("h.io", "a", None, DIGEST),
    f"h.io/a:1@{DIGEST}": ("h.io", "a", "1", DIGEST),
    "docker.io/library/python:3": ("docker.io", "library/python", "3", None),
    f"h.io/a:{'t' * 128}": ("h.io", "a", "t" * 128, None),
}


@pytest.mark.parametrize("text", GOOD)
def test_references(text: str) -> None:
    reference = parse_reference(text)
    parts = (reference.repository.registry, reference.repository.name, reference.tag, reference.digest)
    assert parts == GOOD[text]
    assert str(reference) == text
    assert reference.target == (reference.digest.text if reference.digest else reference.tag)


BAD = {
    "shorthand": "python:3",
    "shorthand with user": "someone/python:3",
    "half a shorthand": "docker.io/python:3",
    "no tag": "h.io/a",
    "empty tag": "h.io/a:",
    "empty": "",
    "upper case": "h.io/A:1",
    "empty component": "h.io/a//b:1",
    "leading slash": "/a:1",
    "trailing slash": "h.io/a/:1",
    "climbing": "h.io/../a:1",
    "dots": "h.io/a..b:1",
    "three underscores": "h.io/a___b:1",
    "tag with slash": "h.io/a:1/2",
    "long tag": f"h.io/a:{'t' * 129}",
    "tag that begins with a dot": "h.io/a:.x",
    "port 0": "h.io:0/a:1",
    "port 65536": "h.io:65536/a:1",
    "scheme": "https://h.io/a:1",
    "user": "user@h.io/a:1",
    "space": "h.io/a b:1",
    "newline": "h.io/a:1\n",
    "host with underscore": "h_o.io/a:1",
    "not an address": "[:::]:5000/a:1",
    "too long": f"h.io/{'a' * 255}:1",
    "full-width letter": "h.io/\uff41:1",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises((UsageError, ImageError)):
        parse_reference(text)


@pytest.mark.parametrize("digest", ["sha256:abc", "sha512:" + "0" * 128, "", f"{DIGEST}@{DIGEST}"])
def test_a_wrong_digest_is_refused(digest: str) -> None:
    with pytest.raises((UsageError, ImageError)):
        parse_reference(f"h.io/a@{digest}")


def test_shorthands_are_told_how_to_be_written() -> None:
    with pytest.raises(UsageError, match=r"docker\.io/library/NAME"):
        parse_reference("python:3")
    with pytest.raises(UsageError, match=r"docker\.io/library/python"):
        parse_reference("docker.io/python:3")


def test_docker_answers_at_another_host() -> None:
    assert parse_repository("docker.io/library/python").api_host == "registry-1.docker.io"
    assert parse_repository("h.io/library/python").api_host == "h.io"


@pytest.mark.parametrize(
    ("registry", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("[::2]:5000", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_which_registries_are_this_machine(registry: str, *, loopback: bool) -> None:
    assert Repository(registry, "a").is_loopback is loopback


@given(st.text(max_size=60))
def test_whatever_is_accepted_says_itself_again(text: str) -> None:
    try:
        reference = parse_reference(text)
    except (UsageError, ImageError):
        return
    assert parse_reference(str(reference)) == reference


def test_a_reference_can_be_pinned() -> None:
    reference = Reference(Repository("h.io", "a"), "1").at(DIGEST)
    assert str(reference) == f"h.io/a:1@{DIGEST}"
    assert reference.target == DIGEST.text
