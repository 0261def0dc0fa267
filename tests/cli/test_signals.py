"""A signal ends the program with the status and message that the help text promises, however early it comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from veilbox.cli import main as module


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_command_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    def parser() -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(module, "_parser", parser)
    assert module.main([]) == 130
    assert capsys.readouterr().err.startswith(f"veilbox: interrupted by {number.name}")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # a second one must not interrupt the clearing away
