"""Another policy differs from the first by what is said, and by nothing else."""

from __future__ import annotations

import argparse

import pytest

from veilbox.cli import evaluate
from veilbox.core.errors import UsageError
from veilbox.core.policy import Policy, Recall


def first(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.register(parser.add_subparsers())
    return parser.parse_args(["evaluate", "in.jpg", "--labels", "l.json", *words])


def spelled(text: str, *words: str) -> Policy:
    return evaluate._spelled(text, first(*words))


def test_what_is_not_said_again_stays() -> None:
    policy = spelled("--recall high", "--hide", "plate", "--threshold", "0.4", "--margin", "0.3")
    assert policy.detection.classes == ("plate",)
    assert (policy.detection.recall, policy.detection.threshold) == (Recall.HIGH, 0.4)
    assert policy.redaction.margin == 0.3


def test_what_is_said_again_takes_its_place() -> None:
    policy = spelled("--threshold 0.1 --hide face", "--hide", "plate", "--threshold", "0.4")
    assert policy.detection.classes == ("face",)
    assert policy.detection.threshold == 0.1


@pytest.mark.parametrize("text", ["--colour red", "'", "--recall utmost", "--threshold 2"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        spelled(text)
