"""Which time a user means: a label, a number, or one that could be either."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vgfm_sc import tl
from vgfm_sc._time import meant

POINTS = np.array([0.0, 1.0, 2.5])
DAYS = {"day0": 0.0, "day3": 1.0, "day8": 2.5}
NUMBERED = {"1": 0.0, "2": 1.0, "3": 2.5, "7": 2.5}


@pytest.mark.parametrize(
    ("time", "labels", "wanted"),
    [
        (1, None, 1.0),
        (np.float32(2.5), None, 2.5),
        (2.5 + 1e-7, None, 2.5),
        (1.7, None, 1.7),
        ("day3", DAYS, 1.0),
        (1.0, DAYS, 1.0),
        ("day4", DAYS, None),
        ("1", None, None),
        ("2", NUMBERED, 1.0),
        (3, NUMBERED, 2.5),  # 3 is no time of the course
        (7.0, NUMBERED, 2.5),
        (0, NUMBERED, 0.0),
        (True, NUMBERED, None),
        (None, NUMBERED, None),
        ([1.0], NUMBERED, None),
    ],
)
def test_strings_are_labels_and_numbers_are_times(time, labels, wanted):
    assert meant(time, "start", labels, POINTS) == wanted


def test_a_number_that_is_a_label_and_another_time_is_refused():
    with pytest.raises(
        ValueError, match=r"start: 1 is a label.*for time 0, and also a time.*'1' for time 0, '2' for time 1"
    ):
        meant(1, "start", NUMBERED, POINTS)
    assert meant(2, "start", NUMBERED, POINTS) == 1.0
    with pytest.raises(ValueError, match="2 is a label of time_map, for time 1, and also a time of the course"):
        meant(2, "time", NUMBERED, POINTS, between=True)  # cells at 2 could be simulated
    assert meant(1, "start", {"1": 1.0, "2": 2.5}, POINTS) == 1.0  # both say the same


@pytest.fixture(scope="module")
def numbered(unfitted, small):
    """Times 0 to 4 under the labels 1 to 5."""
    adata = unfitted.copy()
    adata.obs["stage"] = adata.obs["time"].astype(int) + 1
    time_map = {stage: stage - 1.0 for stage in range(1, 6)}
    tl.fit(adata, "stage", time_map=time_map, **{**small, "match_steps": 3, "fit_steps": 0})
    return adata, time_map


def test_labels_that_are_numbers_mean_one_thing_in_every_call(numbered, small):
    adata, time_map = numbered
    few = {**small, "match_steps": 3, "fit_steps": 0, "time_map": time_map}
    with pytest.raises(ValueError, match="mass: 1 is a label"):
        tl.fit(adata.copy(), "stage", mass={k: float(k) for k in range(1, 6)}, **few)
    with pytest.raises(ValueError, match="times: 2 is a label"):
        tl.holdout(adata.copy(), "stage", times=2, **few)
    for call in (
        lambda: tl.simulate(adata, start=2),
        lambda: tl.simulate(adata, times=[3]),
        lambda: tl.interpolate(adata, 2),
        lambda: tl.descendants(adata, (adata.obs["stage"] == 1).to_numpy(), to=2),
    ):
        with pytest.raises(ValueError, match="is a label of time_map"):
            call()
    tl.simulate(adata, n_cells=3)  # no number was given
    tl.descendants(adata, (adata.obs["stage"] == 2).to_numpy())
    tl.ancestors(adata, (adata.obs["stage"] == 2).to_numpy())
    said = tl.fit(adata, "stage", mass={str(k): float(k) for k in range(1, 6)}, copy=True, **few)
    np.testing.assert_array_equal(said.uns["vgfm"]["params"]["totals"], np.arange(1.0, 6.0))
    tl.simulate(adata, n_cells=3, start="2")
    assert adata.uns["vgfm"]["trajectories"]["times"][0] == 1.0
    tl.simulate(adata, n_cells=3, start=5, times=["1"])  # 5 is no time, but a label
    assert adata.uns["vgfm"]["trajectories"]["times"].tolist() == [4.0, 0.0]


def test_times_read_from_single_precision_can_be_asked_for(unfitted, small):
    adata = unfitted[unfitted.obs["time"] < 3].copy()
    adata.obs["time"] = pd.Series([0.1, 0.4, 0.7], dtype=np.float32)[adata.obs["time"].astype(int)].to_numpy()
    tl.fit(adata, "time", **{**small, "match_steps": 3, "fit_steps": 0})
    tl.simulate(adata, n_cells=3, times=[0.4, 0.7])
    tl.simulate(adata, n_cells=3, start=0.7, times=[0.1])
    assert (tl.interpolate(adata, 0.7).obs["time"] == np.float32(0.7)).all()
    tl.descendants(adata, (adata.obs["time"] < 0.2).to_numpy(), to=0.7)
    tl.holdout(adata, "time", times=0.4, **{**small, "match_steps": 2, "fit_steps": 0})
