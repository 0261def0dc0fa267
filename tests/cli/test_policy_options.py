"""Options, a policy file, and defaults: the first that says something counts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from veilbox.cli import anonymize
from veilbox.cli.policy_options import CLASSES, policy_from
from veilbox.core.errors import UsageError
from veilbox.core.metadata import MetadataField, Preset
from veilbox.core.policy import Keep, Policy, Recall, Retention, Style, Verdict
from veilbox.core.zones import Zone
from veilbox.orchestrate.plan import DETECTORS

FILE = """
version = 1
keep = ["audio"]
log_names = true
minimum_isolation = 3
[detection]
classes = ["plate"]
models = ["finder"]
stride = 2
[redaction]
style = "pixelate"
"""


def spelled(*words: str) -> Policy:
    parser = argparse.ArgumentParser()
    anonymize.register(parser.add_subparsers())
    return policy_from(parser.parse_args(["anonymize", "in.jpg", "-o", "out.jpg", *words]))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(FILE)
    return str(path)


def test_without_a_word_it_is_the_default() -> None:
    assert spelled() == Policy()


def test_what_the_file_says_and_no_option_does_counts(file: str) -> None:
    policy = spelled("--policy", file, "--recall", "high")
    assert (policy.detection.classes, policy.detection.models) == (("plate",), ("finder",))
    assert (policy.detection.stride, policy.detection.recall) == (2, Recall.HIGH)
    assert (policy.keep, policy.log_names, policy.minimum_isolation) == ((Keep.AUDIO,), True, 3)


OPTIONS: dict[str, tuple[tuple[str, ...], Callable[[Policy], object], object]] = {
    "a list begins anew": (("--hide", "face", "--hide", "face"), lambda one: one.detection.classes, ("face",)),
    "models": (("--model", "a", "--model", "b"), lambda one: one.detection.models, ("a", "b")),
    "style": (("--style", "blur"), lambda one: one.redaction.style, Style.BLUR),
    "low latency": (("--low-latency",), lambda one: (one.tracking.low_latency, one.tracking.waiting), (True, 0)),
    "zero is a word": (("--margin", "0"), lambda one: one.redaction.margin, 0.0),
    "auto is a word": (("--isolation", "auto"), lambda one: one.minimum_isolation, None),
    "level": (("--isolation", "2"), lambda one: one.minimum_isolation, 2),
    "strides are two": (("--verify-stride", "5"), lambda one: (one.verification.stride, one.detection.stride), (5, 2)),
    "verdict": (("--on-residual", "fail"), lambda one: one.verification.residual, Verdict.FAIL),
    "source": (("--source", "delete"), lambda one: one.retention, Retention.DELETE),
    "deadline": (("--deadline", "7"), lambda one: one.deadline_s, 7.0),
    "a preset": (("--metadata", "research"), lambda one: one.metadata, Preset.RESEARCH),
    "fields by name": (
        ("--metadata", "camera,colour-profile"),
        lambda one: one.metadata_fields,
        (MetadataField.COLOUR_PROFILE, MetadataField.CAMERA),
    ),
    "encoder": (("--crf", "0", "--preset", "slow"), lambda one: (one.encoding.crf, one.encoding.preset), (0, "slow")),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_an_option_takes_the_place_of_the_files_word(what: str, file: str) -> None:
    words, value_of, expected = OPTIONS[what]
    assert value_of(spelled("--policy", file, *words)) == expected


@pytest.mark.parametrize("words", ["gps", "camera,", "", "keep,camera"])
def test_metadata_that_is_no_field(words: str) -> None:
    with pytest.raises(UsageError, match="no such field of metadata"):
        spelled("--metadata", words)


@pytest.mark.parametrize(
    ("said", "warned"),
    [("none", False), ("research", False), ("exposure,lens", False), ("keep", True), ("position", True)],
)
def test_a_policy_that_keeps_what_reveals_warns(said: str, warned: bool) -> None:
    assert spelled("--metadata", said).warnings == (("keeps-metadata",) if warned else ())


def test_the_classes_that_are_offered_are_those_that_a_detector_knows() -> None:
    assert tuple(DETECTORS) == CLASSES


def test_zones_of_the_command_take_the_place_of_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        'version = 1\n[[zones]]\ncamera = "yard/*"\nkeep = true\n'
        "size = [40, 20]\npoints = [[0, 0], [20, 0], [20, 20]]\n"
    )
    (zone,) = spelled("--policy", str(path)).zones
    assert zone == Zone(points=((0, 0), (20, 0), (20, 20)), size=(40, 20), camera="yard/*", keep=True)
    (other,) = spelled("--policy", str(path), "--zone", "0,0 1,0 1,1").zones
    assert other == Zone(points=((0, 0), (1, 0), (1, 1)))


@pytest.mark.parametrize("line", ["corners = []", "points = [[0, 0, 0], [1, 0], [1, 1]]", 'points = "all"'])
def test_a_zone_that_is_half_understood_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f"version = 1\n[[zones]]\n{line}\n")
    with pytest.raises(UsageError):
        spelled("--policy", str(path))
