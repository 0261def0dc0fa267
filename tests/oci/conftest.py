"""The real registry, started once; skipped where Debian's package is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from real_registry import RealRegistry


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """Debian's docker-registry with TLS and a password; tests that use it carry the marker `registry`."""
    from real_registry import available, real_registry  # noqa: PLC0415 - on the path when its folder's tests are loaded

    if not available():
        pytest.skip("docker-registry is not installed (apt-get install docker-registry)")
    with real_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running
