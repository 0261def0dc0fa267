"""Debian's docker-registry on loopback, with TLS by a certificate authority of its own and a password."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "robot", "s3cret"


@dataclass(frozen=True, kw_only=True)
class RealRegistry:
    host: str
    ca_file: Path
    auth_file: Path
    certificates: Path
    storage: Path


def available() -> bool:
    return shutil.which("docker-registry") is not None


@contextmanager
def real_registry(folder: Path, *, password: bool = True) -> Iterator[RealRegistry]:
    port = _free_port()
    host = f"127.0.0.1:{port}"
    certificates = folder / "certificates"
    certificates.mkdir(parents=True)
    _certificates(certificates)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
    (folder / "config.yml").write_text(_config(folder, host, password=password))
    auth = folder / "auth.json"
    auth.write_text(json.dumps({"auths": {host: {"auth": _encoded(f"{USER}:{PASSWORD}")}}}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _await(process, port, certificates / "ca.crt", folder / "log")
        yield RealRegistry(
            host=host,
            ca_file=certificates / "ca.crt",
            auth_file=auth,
            certificates=certificates,
            storage=folder / "storage",
        )
    finally:
        process.kill()
        process.wait()


def _encoded(text: str) -> str:
    import base64  # noqa: PLC0415

    return base64.b64encode(text.encode()).decode()


def _config(folder: Path, host: str, *, password: bool) -> str:
    document = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}},
        "http": {
            "addr": host,
            "secret": "of the test",
            "tls": {
                "certificate": str(folder / "certificates" / "server.crt"),
                "key": str(folder / "certificates" / "server.key"),
            },
        },
    }
    if password:
        document["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    return json.dumps(document)  # JSON is YAML


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(process: subprocess.Popen[bytes], port: int, ca_file: Path, log: Path) -> None:
    """Until it answers with TLS; connection attempts are the waiting."""
    context = ssl.create_default_context(cafile=ca_file)
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1"),
            ):
                return
        except OSError:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            try:
                process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
    raise AssertionError(log.read_text())


def _certificates(folder: Path) -> None:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the test's authority")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca = _certificate(issuer, issuer, ca_key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(usage, True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    server = _certificate(subject, issuer, key.public_key())
    server = server.add_extension(x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), False)
    server = server.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (folder / "server.crt").write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
    )
