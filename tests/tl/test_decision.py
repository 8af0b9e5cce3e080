from __future__ import annotations

import numpy as np
import pytest

from vgfm_sc.core.reading.distances import energy_distance, energy_floor
from vgfm_sc.tl._decision import Judged, judged, reason, table


def times(gains, errors):
    """What is judged at each time point of candidates a, b, ..., ``gains`` and ``errors`` by candidate."""
    names = "abc"[: len(gains)]
    return [
        Judged(
            {n: 0.5 - g for n, g in zip(names, gain, strict=True)},
            *(dict(zip(names, v, strict=True)) for v in (gain, error)),
        )
        for gain, error in zip(np.transpose(gains), np.transpose(errors), strict=True)
    ]


def test_of_those_that_are_better_the_one_with_the_largest_gain_is_chosen():
    found = table(times([[0, 0], [0.2, 0.2], [0.3, 0.3]], [[0, 0], [0.02, 0.02], [0.02, 0.02]]))
    assert found["better"].tolist() == [False, True, True] and found["chosen"].tolist() == [False, False, True]
    assert found["score"].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert found["error"].tolist() == pytest.approx([0, 0.02 / np.sqrt(2), 0.02 / np.sqrt(2)])
    assert reason(found, 2).startswith("Chose 'c': its gain over 'a' is 0.300 +- 0.014 over 2 time points left out")


def test_a_gain_at_one_time_point_counts_unless_there_is_harm_at_another():
    assert table(times([[0, 0], [0.4, 0.0]], [[0, 0], [0.1, 0.0]]))["chosen"].tolist() == [False, True]
    assert table(times([[0, 0], [0.4, -0.02]], [[0, 0], [0.1, 0.0]]))["chosen"].tolist() == [False, True]
    assert table(times([[0, 0], [0.4, -0.04]], [[0, 0], [0.1, 0.0]]))["chosen"].tolist() == [True, False]
    assert table(times([[0, 0], [0.4, -0.04]], [[0, 0], [0.1, 0.03]]))["chosen"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("gains", "errors"),
    [
        ([0.2, 0.2], [0.2, 0.2]),  # other cells might say otherwise
        ([0.5, -0.1], [0.0, 0.0]),  # another time point does
        ([0.02, 0.02], [0.0, 0.0]),  # too small
        ([-0.2, -0.2], [0.0, 0.0]),
        ([np.nan, 0.5], [0.0, 0.0]),
    ],
)
def test_the_default_stays_unless_the_gain_is_sure(gains, errors):
    found = table(times([[0, 0], gains], [[0, 0], errors]))
    assert found["chosen"].tolist() == [True, False] and not found["better"].any()
    assert reason(found, 2).startswith("Kept 'a'")


def test_one_time_point_is_judged_by_its_cells():
    assert table(times([[0], [0.2]], [[0], [0.05]]))["chosen"].tolist() == [False, True]
    assert table(times([[0], [0.2]], [[0], [0.15]]))["chosen"].tolist() == [True, False]


def test_scores_are_shares_of_the_nearest_snapshot_or_of_chance_where_that_is_as_near():
    rng = np.random.default_rng(0)
    observed, near, far, good = (rng.normal(m, 1, (60, 2)) for m in (0, 0, 2, 0.1))
    mass = np.ones(60)
    predictions = {"good": (good, mass), "far": (far, mass)}
    found = judged(predictions, far, observed, rng)
    assert found.score["far"] == pytest.approx(1) and found.score["good"] < 0.1
    assert found.gain == pytest.approx({"good": 0, "far": found.score["good"] - 1})
    assert found.error["good"] == 0 < found.error["far"]
    floor = energy_floor(observed, mass, np.random.default_rng(1))
    found = judged(predictions, near, observed, np.random.default_rng(1))
    assert found.score["far"] == pytest.approx(energy_distance(far, observed) / floor)
