"""Whose kernel answers."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from veilbox.core.control import Canaries
from veilbox.core.isolation import GATES, Gate, Level, measure
from veilbox.seal import kernel
from veilbox.seal.canary import planted

UNKNOWN = Canaries(path="/nowhere", tcp_port=1, abstract_socket="none")
ANOTHER = replace(UNKNOWN, kernel="4.4.0 #1 SMP", boot_id="00000000-0000-4000-8000-000000000000")


def test_the_hosts_kernel_is_told_by_its_canaries() -> None:
    with planted() as canaries:
        gate = kernel.own_kernel(canaries)
    assert not gate.held
    assert gate.found.count("as the host") == 2


def test_another_one_holds() -> None:
    assert kernel.own_kernel(ANOTHER).held


@pytest.mark.parametrize(
    "canaries",
    [replace(ANOTHER, kernel=kernel.kernel()), replace(ANOTHER, boot_id=kernel.boot_id()), UNKNOWN],
    ids=["the same release", "the same boot", "the host told nothing"],
)
def test_one_likeness_is_enough_to_fail(canaries: Canaries) -> None:
    assert not kernel.own_kernel(canaries).held


def test_a_kernel_without_boot_id_is_another_if_its_release_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_BOOT_ID", "/nowhere")
    assert kernel.own_kernel(ANOTHER).held
    assert not kernel.own_kernel(replace(ANOTHER, kernel=kernel.kernel())).held


@pytest.mark.parametrize(("held", "level"), [(True, Level.OWN_KERNEL), (False, Level.CONFINED)])
def test_the_level_falls_with_it(*, held: bool, level: Level) -> None:
    others = [
        Gate(name=name, tried="", found="", held=True) for name in GATES if name not in {"own-kernel", "attested"}
    ]
    measured = measure([*others, Gate(name="own-kernel", tried="", found="", held=held)])
    assert (measured.level, measured.failed) == (level, "attested" if held else "own-kernel")


def test_the_kernel_is_named() -> None:
    gate = kernel.kernel_identity()
    assert gate.held
    assert os.uname().release in gate.found
