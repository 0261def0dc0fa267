"""What tests need from the machine: skipped with a reason where it is absent, failed where it was promised.

`VEILBOX_REQUIRE=sealed,footage,registry` promises: a test with one of these markers that skips is then a failure. CI
sets it, so a missing runtime or missing photographs cannot look like success.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from veilbox.oci.image.store import ImageStore
from veilbox.oci.runtime.facts import machine_facts
from veilbox.orchestrate.image_facts import image_fact

CHECKOUT = Path(__file__).parents[1]
SHARED = CHECKOUT.parent / "shared" / "data"

# An example's time on a shared machine says nothing about the code: hypothesis's own limit of 200 ms failed tests.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_PROMISES = ("sealed", "footage", "registry", "cosign", "emulator")


def pytest_configure(config: pytest.Config) -> None:
    promised = _promised()
    unknown = promised - {*_PROMISES}
    if unknown:
        raise pytest.UsageError(f"VEILBOX_REQUIRE: expected some of {', '.join(_PROMISES)}, got {', '.join(unknown)}")
    config.stash[_PROMISED] = promised


_PROMISED = pytest.StashKey[frozenset[str]]()


def _promised() -> frozenset[str]:
    return frozenset(name for word in os.environ.get("VEILBOX_REQUIRE", "").split(",") if (name := word.strip()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    del call
    report = yield
    kinds = item.config.stash[_PROMISED] & {mark.name for mark in item.iter_markers()}
    if report.skipped and not hasattr(report, "wasxfail") and kinds:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"VEILBOX_REQUIRE names {', '.join(sorted(kinds))}, but the test was skipped: {reason}"
    return report


@pytest.fixture(autouse=True)
def ordinary_scheduling() -> Iterator[None]:
    """Undo what SVT-AV1 does to a process of root's: it makes the encoding thread a real-time one and leaves it so.

    What that thread starts inherits it, and cgroups without real-time budget refuse such processes: every container
    that a later test starts would fail.
    """
    yield
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of labelled photographs and films; tests that use it carry the marker `footage`."""
    if not (SHARED / "faces" / "labels.json").is_file():
        pytest.skip("the labelled photographs and films (../shared/data) are not here")
    return SHARED


@pytest.fixture(scope="session")
def sealed() -> None:
    """A machine on which jobs can run; tests that use it carry the marker `sealed`."""
    facts = (*machine_facts(), image_fact(ImageStore.default()))
    lacking = [f"{fact.name}: {fact.state} ({fact.advice})" for fact in facts if fact.required and not fact.ok]
    if lacking:
        pytest.skip("; ".join(lacking))


@pytest.fixture(scope="session")
def demo_film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo film and its true faces; the ones that `make demo` made, or new ones."""
    from film import main  # noqa: PLC0415 - reads photographs and encoders, which few tests need

    path = CHECKOUT / "build" / "demo" / "faces.mp4"
    if not (path.is_file() and path.with_suffix(".json").is_file()):
        path = tmp_path_factory.mktemp("demo") / "faces.mp4"
        main([str(path)])
    return path, path.with_suffix(".json")
