"""A component that lies, in a real job: the job ends with an error of ours, and nothing of an output is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from red_team_workshop import make_short_film, open_folder, run_program

COMPONENTS = ("ingest", "detect-centerface", "anonymize", "export", "verify", "second-centerface", "audit")
# What each of them says in turn; the rest is said by the one from whom it would do most harm.
EVERYBODYS = ("garbage", "impostor")
OTHERS = (
    ("detect-centerface", "exit"),
    ("audit", "exit"),
    ("ingest", "nesting"),
    ("detect-centerface", "numbers"),
    ("ingest", "words"),
    ("export", "lie"),
    ("anonymize", "early"),
    ("ingest", "descriptors"),
    ("ingest", "edge-descriptors"),
    ("ingest", "edges"),
    ("detect-centerface", "edges"),
    ("anonymize", "edges"),
    ("export", "edges"),
    ("verify", "edges"),
    ("second-centerface", "edges"),
    ("verify", "silent"),
)
LIES = [*((component, lie) for lie in EVERYBODYS for component in COMPONENTS), *OTHERS]
# No internal error of the supervisor, and none that speaks of the film.
KINDS = {"ProtocolError", "ComponentDied", "ComponentHung", "ComponentError", "AuditError", "SourceCorrupt"}
# What the supervisor reads itself it lays at the door of who sent it.
TO_THE_SUPERVISOR = {"garbage", "nesting", "numbers", "descriptors"}
# The longest error of four fields of at most 500 characters, and the words between them.
MOST_WORDS = 2_200


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_short_film(path)
    return path


@pytest.mark.sealed
@pytest.mark.parametrize(("component", "lie"), LIES, ids=[f"{lie}-{component}" for component, lie in LIES])
def test_a_lie_ends_the_job_with_an_error_and_no_output(
    sealed: None, tmp_path: Path, film: Path, component: str, lie: str
) -> None:
    del sealed
    (tmp_path / "film.mp4").symlink_to(film)
    (tmp_path / "out").mkdir()
    (tmp_path / "layers").mkdir()
    open_folder(tmp_path / "layers")
    ended: Any = run_program("lying_job.py", lie, component, tmp_path)
    assert ended["left"] == []
    assert ended["kind"] in KINDS, ended
    if lie in TO_THE_SUPERVISOR:
        assert (ended["kind"], ended["said"].partition(":")[0]) == ("ProtocolError", component)
    assert ended["said"].isprintable()
    assert len(ended["said"]) <= MOST_WORDS
