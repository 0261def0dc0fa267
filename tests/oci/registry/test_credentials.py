# No password here opens anything.
# ruff: noqa: S106, S107

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from veilbox.core.errors import MachineError, RegistryDenied, UsageError
from veilbox.oci.registry.credentials import Credentials, CredentialSource
from veilbox.oci.registry.reference import Repository

HERE = Repository("h.io:5000", "a/b")


def encoded(user: str, password: str = "p:w") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def source(folder: Path, *documents: object) -> CredentialSource:
    files = []
    for number, document in enumerate(documents):
        path = folder / f"{number}.json"
        path.write_text(json.dumps(document))
        files.append(path)
    return CredentialSource((folder / "missing.json", *files))


AUTHS = {
    "the host": ({"h.io:5000": encoded("u")}, "u"),
    "the path wins over the host": ({"h.io:5000": encoded("u"), "h.io:5000/a": encoded("v")}, "v"),
    "the whole path wins": ({"h.io:5000/a": encoded("u"), "h.io:5000/a/b": encoded("v")}, "v"),
    "another path": ({"h.io:5000/c": encoded("u")}, None),
    "half a component": ({"h.io:5000/a/bb": encoded("u"), "h.io:5000/": encoded("v")}, None),
    "another port": ({"h.io": encoded("u")}, None),
    "docker's old key": ({"https://h.io:5000/v1/": encoded("u")}, "u"),
    "plain fields": ({"h.io:5000": {"username": "u", "password": "p:w"}}, "u"),
    "logged out": ({"h.io:5000": {}}, None),
}


@pytest.mark.parametrize(("auths", "user"), AUTHS.values(), ids=AUTHS)
def test_which_entry_is_taken(tmp_path: Path, auths: object, user: str | None) -> None:
    found = source(tmp_path, {"auths": auths, "unknown": 1}).find(HERE)
    assert found == (None if user is None else Credentials(username=user, password="p:w"))


def test_the_first_file_that_knows_wins(tmp_path: Path) -> None:
    files = [{"auths": {"x.io": encoded("x")}}, {"auths": {"h.io:5000": encoded("first")}}]
    found = source(tmp_path, *files, {"auths": {"h.io:5000/a/b": encoded("second")}}).find(HERE)
    assert found is not None
    assert found.username == "first"


def test_docker_s_own_registry_has_a_key_of_its_own(tmp_path: Path) -> None:
    auths = {"https://index.docker.io/v1/": encoded("u")}
    assert source(tmp_path, {"auths": auths}).find(Repository("docker.io", "library/x")) is not None


def test_an_identity_token(tmp_path: Path) -> None:
    entry = {"identitytoken": "t"} | encoded("u")
    assert source(tmp_path, {"auths": {"h.io:5000": entry}}).find(HERE) == Credentials(identity_token="t")


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 1}', '{"auths": {"h.io:5000": {"auth": "secret!"}}}', "\udcff"])
def test_a_broken_file_is_said_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as told:
        CredentialSource((path,)).find(HERE)
    assert "secret" not in str(told.value)
    assert str(path) in str(told.value)


def test_secrets_are_not_in_a_repr() -> None:
    shown = repr(Credentials(username="u", password="hush", identity_token="hush"))
    assert "hush" not in shown


def test_the_usual_places(tmp_path: Path) -> None:
    def find(**environment: str) -> str | None:
        found = CredentialSource.default({"HOME": str(tmp_path / "home"), **environment}).find(HERE)
        return None if found is None else found.username

    def put(path: str, user: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"auths": {"h.io:5000": encoded(user)}}))
        return file

    assert find() is None
    put("home/.docker/config.json", "docker")
    assert find() == "docker"
    put("elsewhere/config.json", "elsewhere")
    assert find(DOCKER_CONFIG=str(tmp_path / "elsewhere")) == "elsewhere"
    put("home/.config/containers/auth.json", "config")
    assert find() == "config"
    put("run/containers/auth.json", "run")
    assert find(XDG_RUNTIME_DIR=str(tmp_path / "run")) == "run"
    named = put("named.json", "named")
    assert find(XDG_RUNTIME_DIR=str(tmp_path / "run"), REGISTRY_AUTH_FILE=str(named)) == "named"
    with pytest.raises(UsageError, match="REGISTRY_AUTH_FILE"):
        find(REGISTRY_AUTH_FILE=str(tmp_path / "nothing"))


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_credential_helper_is_asked(tmp_path: Path, helper: Path) -> None:
    script(helper, 'read key; echo "{\\"ServerURL\\":\\"$key\\",\\"Username\\":\\"$1 $key\\",\\"Secret\\":\\"s\\"}"')
    for document in ({"credHelpers": {"h.io:5000": "test"}}, {"credsStore": "test"}):
        found = source(tmp_path, document).find(HERE)
        assert found == Credentials(username="get h.io:5000", password="s")


def test_a_helper_s_token(tmp_path: Path, helper: Path) -> None:
    script(helper, 'echo \'{"Username":"<token>","Secret":"t"}\'')
    assert source(tmp_path, {"credsStore": "test"}).find(HERE) == Credentials(identity_token="t")


def test_a_helper_that_knows_nothing(tmp_path: Path, helper: Path) -> None:
    script(helper, "echo credentials not found in native keychain; exit 1")
    assert source(tmp_path, {"credsStore": "test"}).find(HERE) is None


def test_a_helper_that_fails(tmp_path: Path, helper: Path) -> None:
    script(helper, "echo locked; exit 1")
    with pytest.raises(RegistryDenied, match="failed"):
        source(tmp_path, {"credsStore": "test"}).find(HERE)
    script(helper, "echo nonsense")
    with pytest.raises(RegistryDenied, match="no credentials"):
        source(tmp_path, {"credsStore": "test"}).find(HERE)


def test_a_helper_that_is_missing_or_misnamed(tmp_path: Path, helper: Path) -> None:
    del helper
    with pytest.raises(MachineError, match="docker-credential-test"):
        source(tmp_path, {"credsStore": "test"}).find(HERE)
    with pytest.raises(UsageError, match="name of a credential helper"):
        source(tmp_path, {"credsStore": "../../bin/sh"}).find(HERE)
