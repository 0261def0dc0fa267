"""Options that the actions with registries share, and the connection that they spell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veilbox.oci.registry.images import Connection


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """How to reach registries. Passwords come from the usual files, never from the command line."""
    group = parser.add_argument_group("registry")
    group.add_argument("--ca-file", type=Path, metavar="FILE", help="one more certificate authority, PEM")
    group.add_argument(
        "--plain-http", action="store_true", help="without TLS; only for a registry on this very machine"
    )


@contextmanager
def connected(arguments: argparse.Namespace, store_root: Path) -> Iterator[Connection]:
    """The way to registries; mirrors are those of `registries.toml` in the store's folder.

    Raises:
        UsageError: An option, the mirrors or the credentials cannot be used.
    """
    from veilbox.oci.registry.credentials import CredentialSource  # noqa: PLC0415
    from veilbox.oci.registry.http import HttpTransport  # noqa: PLC0415
    from veilbox.oci.registry.images import Connection  # noqa: PLC0415
    from veilbox.oci.registry.mirrors import read_mirrors  # noqa: PLC0415
    from veilbox.oci.registry.session import Session  # noqa: PLC0415

    mirrors = read_mirrors(store_root / "registries.toml")
    with HttpTransport(ca_file=arguments.ca_file) as transport:
        session = Session(transport=transport, credentials=CredentialSource.default(), plain_http=arguments.plain_http)
        yield Connection(session=session, mirrors=mirrors)
