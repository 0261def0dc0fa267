"""One build of the images for all tests that look at them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from image_set import built_for_both

from veilbox.oci.image.store import ImageStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageStore]:
    """A store with every image for this machine and for another."""
    root = tmp_path_factory.mktemp("images") / "store"
    yield built_for_both(root)
    shutil.rmtree(root)
