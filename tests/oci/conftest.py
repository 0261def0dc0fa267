"""What takes long and is done once: the real registry, and all images for two machines."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from veilbox.oci.image.store import ImageStore

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


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageStore]:
    """A store with every component image for this machine and for another."""
    from image_set import built_for_both  # noqa: PLC0415 - likewise

    root = tmp_path_factory.mktemp("images") / "store"
    yield built_for_both(root)
    shutil.rmtree(root)
