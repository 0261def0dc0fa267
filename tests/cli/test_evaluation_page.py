"""One page that shows what policies are worth on labelled data, side by side, and needs nothing else."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from page_workshop import HOSTILE, read, require_nothing_else

from veilbox.core.errors import UsageError
from veilbox.core.policy import Policy
from veilbox.evaluation.exposure import Exposure
from veilbox.evaluation.matching import Band
from veilbox.orchestrate.evaluate import ClassResult, Evaluation, ExposureAt, Point
from veilbox.orchestrate.evaluation_page import evaluation_page


def face(*, film: bool = True, recall: float | None = 0.9) -> ClassResult:
    seen = Exposure(identities=10, exposed=1, low=0.003, high=0.445, frames=4)
    return ClassResult(
        labels=40,
        threshold=0.2,
        recall=recall,
        precision=0.8,
        recall_at_precision={},
        average_precision={},
        covered=0.95,
        coverage=0.97,
        exposure=seen if film else None,
        curve=(Point(score=0.1, recall=recall, precision=0.5), Point(score=0.9, recall=0.0, precision=None)),
        sizes=(Band(least=16, labels=10, found=7), Band(least=64, labels=30, found=30)),
        exposures=(ExposureAt(score=0.3, exposure=seen),) if film else (),
    )


def told(options: str = "policy", **classes: ClassResult) -> dict[str, Any]:
    evaluation = Evaluation(pictures=20, unlabelled=0, seconds=2.0, false_cover=0.031, classes=classes, policy=Policy())
    return {"options": options, **msgspec.to_builtins(evaluation)}


def test_policies_stand_side_by_side() -> None:
    page = evaluation_page([told(face=face()), told("--model other", face=face(recall=0.7))])
    assert "<td>policy</td><td>40</td><td>0.20</td><td>90.0%</td><td>80.0%</td><td>95.0%</td><td>1 of 10</td>" in page
    assert "<td>--model other</td><td>40</td><td>0.20</td><td>70.0%</td>" in page
    titles = re.findall("<title>([^<]*)</title>", page)
    for words in (
        "from 0.10: recall 90.0%, precision 50.0%",
        "from 0.10: recall 70.0%, precision 50.0%",
        "from 16 pixels: 7 of 10",
        "from 0.30: 1 of 10, 4 frames",
    ):
        assert words in titles


def test_points_stand_where_their_values_are() -> None:
    """Recall grows to the right and precision upwards: the picture's rows grow downwards."""
    page = evaluation_page([told(face=face())])
    at = {
        words: (float(x), float(y)) for x, y, words in re.findall(r'cx="(.*?)" cy="(.*?)".*?<title>(.*?)</title>', page)
    }
    weak, own = at["from 0.10: recall 90.0%, precision 50.0%"], at["the policy&#x27;s threshold"]
    assert weak[0] == own[0]
    assert weak[1] > own[1]
    assert at["from 16 pixels: 7 of 10"][0] < at["from 64 pixels: 30 of 30"][0]


def test_the_page_needs_nothing_else() -> None:
    require_nothing_else(evaluation_page([told(face=face()), told(HOSTILE, face=face())]))
    assert "script" not in read(evaluation_page([told(HOSTILE, face=face())])).tags


def test_pictures_without_identities_have_no_exposure() -> None:
    page = evaluation_page([told(face=face(film=False, recall=None))])
    assert "Identities exposed" not in page
    assert "the policy&#x27;s threshold" not in page


def test_a_class_that_one_policy_lacks_is_drawn_for_the_others() -> None:
    page = evaluation_page([told(face=face()), told("--hide plate", plate=face(film=False))])
    assert page.count("<h2>") == 2


@pytest.mark.parametrize("wrong", [[{}], [{"options": "a", "classes": {"face": {}}}]])
def test_what_is_no_evaluation_is_a_wrong_request(wrong: list[dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="not an evaluation"):
        evaluation_page(wrong)
