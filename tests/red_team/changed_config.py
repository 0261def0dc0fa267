"""Containers whose config.json is another than the job's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from veilbox.oci.runtime.config import runtime_config

Config = dict[str, Any]
VICTIM = "anonymize"


@contextmanager
def changed(without: Callable[[Config], None], victim: str) -> Iterator[None]:
    """While it lasts, a component's config.json, or everybody's, is changed before the runtime reads it.

    Args:
        without: Changes it.
        victim: Whose; everybody's if empty.
    """

    def config(container: Any, **settings: Any) -> Config:
        made = runtime_config(container, **settings)
        if not victim or container.name == victim:
            without(made)
        return made

    with patch("veilbox.orchestrate.containers.runtime_config", config):
        yield


def without_filter(config: Config) -> None:
    """Take the runtime's filter on system calls away."""
    del config["linux"]["seccomp"]
