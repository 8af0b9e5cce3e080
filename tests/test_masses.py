"""Totals and expected growth as the user gives them; none of this needs torch."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import _anndata

TIME = [0.0, 0, 0.5, 0.5, 2, 2, 2]


def cells(**columns) -> ad.AnnData:
    """Seven cells at the times 0, 0.5 and 2."""
    index = [f"cell{k}" for k in range(7)]
    adata = ad.AnnData(obs=pd.DataFrame({"t": TIME, **columns}, index=index))
    adata.obsm["X_r"] = np.random.default_rng(0).normal(size=(7, 2))
    return adata


def totals(adata, mass="counts", time_map=None, time_key="t"):
    representation = _anndata.Representation("X_r")
    return _anndata.read_snapshots(adata, time_key, representation, time_map, mass).totals


def test_counts_are_the_default():
    assert totals(cells()).tolist() == [2, 2, 3]
    assert _anndata.read_snapshots(cells(), "t", _anndata.Representation("X_r")).given is None
    assert totals(cells(counts=5.0)).tolist() == [2, 2, 3]  # the word, not a column of that name


@pytest.mark.parametrize(
    "mass",
    [
        {0: 10, 0.5: 40, 2: 20},
        {2: 20.0, 0: 10.0, 0.5: 40.0},
        {"0": 10, "0.5": "40", "2.0": 20},
        {np.float32(0): 10, np.float32(0.5): 40, 2 + 1e-9: np.int64(20)},
        "size",
    ],
    ids="numbers order strings numpy column".split(),
)
def test_totals_are_found_by_time(mass):
    adata = cells(size=pd.array([10, 10, 40, 40, 20, 20, 20], dtype="Int64"))
    assert totals(adata, mass).tolist() == [10, 40, 20]


def test_totals_may_be_named_by_the_labels_of_time_map_or_by_its_times():
    adata = cells(stage=["E8", "E8", "E8.5", "E8.5", "E10", "E10", "E10"])
    time_map = {"E8": 0, "E8.5": 0.5, "E10": 2}
    for mass in ({"E8": 10, "E8.5": 40, "E10": 20}, {0: 10, 0.5: 40, 2: 20}):
        assert totals(adata, mass, time_map, "stage").tolist() == [10, 40, 20]
    days = cells(day=[8, 8, 9, 9, 10, 10, 10])
    hours = {8: 0, 9: 24, 10: 48}
    assert totals(days, {8: 1, 9: 2, 10: 3}, hours, "day").tolist() == [1, 2, 3]


def test_totals_given_do_not_change_with_the_cells_that_are_left():
    adata = cells()
    adata.uns["vgfm"] = {
        "package": _anndata.MARK,
        "params": {"time_key": "t", "use_rep": "X_r", "totals": np.array([10.0, 40, 20])},
        "time_points": np.array([0.0, 0.5, 2]),
        "scaling": {"centre": np.zeros(2)},
        "weights": {},
    }
    for some in (adata, adata[1:], adata[adata.obs["t"] != 0.5]):
        assert _anndata.fitted_sampling(some, "vgfm")[1].totals.tolist() == [10, 40, 20]


BAD_TOTALS = {
    "time missing": ({0: 1, 2: 1}, ValueError, r"\[0\.0, 0\.5, 2\.0\]\. Without a total: \[0\.5\]"),
    "time unknown": ({0: 1, 0.5: 1, 2: 1, 3: 1}, ValueError, r"not one of them, or named twice: \[3\]"),
    "time twice": ({0: 1, 0.5: 1, 2: 1, "2": 1}, ValueError, r"named twice: \['2'\]"),
    "label unknown": ({0: 1, 0.5: 1, 2: 1, "E8": 1}, ValueError, r"named twice: \['E8'\]"),
    "label NaN": ({0: 1, 0.5: 1, 2: 1, np.nan: 1}, ValueError, "nan"),
    "total 0": ({0: 1, 0.5: 0, 2: 1}, ValueError, r"positive and finite.*\{'0.5': 0.0\}"),
    "total negative": ({0: 1, 0.5: 1, 2: -1}, ValueError, r"\{'2': -1.0\}"),
    "total infinite": ({0: np.inf, 0.5: 1, 2: 1}, ValueError, r"\{'0': inf\}"),
    "total NaN": ({0: np.nan, 0.5: 1, 2: 1}, ValueError, r"\{'0': nan\}"),
    "total text": ({0: "many", 0.5: 1, 2: 1}, TypeError, "'many' for 0"),
    "column missing": ("size", KeyError, r"mass='size' not found in adata\.obs.*\['t', 'varying'"),
    "column varies": ("varying", ValueError, r"one total for each time point.*\{'0.5': 2\}"),
    "column with gaps": ("gaps", ValueError, r"obs\['gaps'\] is missing or infinite for 1 of 7 cells"),
    "column of text": ("text", TypeError, r"obs\['text'\] is of type"),
    "column of truth": ("truth", TypeError, r"obs\['truth'\] is of type bool"),
    "column negative": ("negative", ValueError, "positive"),
    "a number": (3.0, TypeError, "got float"),
    "nothing": (None, TypeError, "got NoneType"),
}


def spoilt() -> ad.AnnData:
    return cells(
        varying=[1.0, 1, 2, 3, 4, 4, 4],
        gaps=[np.nan, 1, 2, 2, 3, 3, 3],
        text=list("abcdefg"),
        truth=[True] * 7,
        negative=-1.0,
        infinite=[np.inf] * 7,
        score=[0.0, 101, 0, 34, 0, 1e9, 0],
    )


@pytest.mark.parametrize("case", BAD_TOTALS)
def test_totals_that_cannot_be_used_are_refused(case):
    mass, error, message = BAD_TOTALS[case]
    with pytest.raises(error, match=message):
        totals(spoilt(), mass)


# growth expected of the cells


def prior(adata, name):
    time = adata.obs["t"].to_numpy()
    return _anndata.read_prior(adata, name, time, np.unique(time))


@pytest.mark.parametrize(
    "convert", [np.asarray, pd.array, lambda x: x.astype(np.float32), lambda x: (4 * x).astype(int)]
)
def test_a_prior_is_read_as_it_is(convert):
    rate = np.array([-1.0, 0, 0.5, 0.25, 2, 3, 1])
    adata = cells(rate=convert(rate))
    found = prior(adata, "rate")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, adata.obs["rate"].to_numpy(dtype=float))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("rate", KeyError, r"growth_prior='rate' not found in adata\.obs"),
        ("gaps", ValueError, "missing or infinite for 1 of 7"),
        ("infinite", ValueError, "missing or infinite for 7 of 7"),
        ("text", TypeError, "numbers are needed"),
        ("truth", TypeError, "numbers are needed"),
        ("score", ValueError, r"cells at 0 to have e\^50 times.* at 0\.5 .*rate per unit of time"),
        (3, TypeError, "column of obs or None, got int"),
    ],
)
def test_a_prior_that_cannot_be_used_is_refused(name, error, message):
    with pytest.raises(error, match=message):
        prior(spoilt(), name)


def test_how_far_expectations_may_lie_apart_goes_by_the_length_of_the_interval():
    """99 over half a unit of time is e^49.5, 34 over one and a half e^51; the last time point has no interval."""
    assert len(prior(cells(score=[0.0, 99, 0, 33, 0, 1e9, 0]), "score")) == 7
    with pytest.raises(ValueError, match=r"cells at 0\.5 to have e\^51 times"):
        prior(cells(score=[0.0, 99, 0, 34, 0, 0, 0]), "score")
