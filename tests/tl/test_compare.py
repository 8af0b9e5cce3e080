"""Two conditions of a fit compared: at the same cells, by their own starting cells, and with intervals over samples."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vgfm_sc import datasets, get, pl, tl
from vgfm_sc.core.reading import comparison, effects

TINY = {"width": 16, "depth": 2, "match_steps": 20, "match_size": 32, "fit_steps": 0, "score": False, "progress": False}
QUICK = {"use_rep": "X_state", "condition_key": "condition", **TINY}
COLUMNS = ["effect", "cluster", "reference", "other", "estimate", "low", "high", "t", "pvals", "pvals_adj"]
BOTH = ("control", "treated")
ONE_MODEL = "ignore:This fit has one model"


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    return datasets.branching(n_cells=60, n_dims=3, times=(0, 1, 2), treatment="growth", n_samples=3, seed=0)


@pytest.fixture(scope="module")
def ensemble(cells) -> ad.AnnData:
    """Five models of samples drawn again, compared."""
    adata = tl.fit(cells, "time", copy=True, sample_key="sample", n_models=5, **QUICK)
    tl.compare(adata, *BOTH, cluster_key="cell_type", n_cells=30)
    return adata


@pytest.fixture(scope="module")
def single(cells) -> ad.AnnData:
    return tl.fit(cells, "time", copy=True, **QUICK)


def table_of(adata: ad.AnnData) -> pd.DataFrame:
    return adata.uns["vgfm"]["comparison"]["table"].set_index(["effect", "cluster"])


def asked(adata: ad.AnnData, condition: str, member: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Velocity and growth at every cell and its own time, under one condition."""
    return get.model(adata, condition=condition, member=member)(adata.obs["time"].to_numpy(), adata.obsm["X_state"])


@pytest.mark.filterwarnings(ONE_MODEL)
def test_differences_of_cells_are_those_of_the_two_models(single):
    adata = single.copy()
    tl.compare(adata, *BOTH)
    (v0, g0), (v1, g1) = (asked(adata, name) for name in BOTH)
    np.testing.assert_allclose(adata.obs["vgfm_growth_difference"], g1 - g0, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(adata.obsm["vgfm_velocity_difference_state"], v1 - v0, rtol=1e-4, atol=1e-5)
    assert not any(name.endswith(("_difference_sd", "_pvals_adj")) for name in adata.obs)


@pytest.mark.filterwarnings(ONE_MODEL)
def test_clusters_are_means_in_which_both_conditions_weigh_alike(single):
    few = np.flatnonzero(single.obs["condition"] == "treated")
    adata = single[np.setdiff1d(np.arange(single.n_obs), np.delete(few, np.s_[::4]))].copy()
    table = tl.compare(adata, *BOTH, cluster_key="cell_type").set_index(["effect", "cluster"])
    by = [adata.obs["cell_type"], adata.obs["condition"]]
    off = adata.obs["vgfm_growth_difference"].groupby(by, observed=True).mean().unstack().mean(axis=1)
    np.testing.assert_allclose(table["estimate"]["growth"][off.index], off, rtol=1e-4, atol=1e-6)
    velocity = pd.DataFrame(adata.obsm["vgfm_velocity_difference_state"], adata.obs_names)
    means = velocity.groupby(by, observed=True).mean().groupby("cell_type", observed=True).mean()
    lengths = np.linalg.norm(means, axis=1)
    np.testing.assert_allclose(table["estimate"]["velocity"][means.index], lengths, rtol=1e-4)
    np.testing.assert_allclose((table["other"] - table["reference"] - table["estimate"])["growth"], 0, atol=1e-9)


@pytest.mark.filterwarnings(ONE_MODEL)
def test_fates_and_mass_are_those_of_own_starting_cells(single):
    adata = single.copy()
    table = tl.compare(adata, *BOTH, cluster_key="cell_type").set_index(["effect", "cluster"])
    found = adata.uns["vgfm"]["comparison"]["mass"]
    for column, name in zip(("reference", "other"), BOTH, strict=True):
        tl.simulate(adata, n_cells=None, condition=name, times=[0, 1, 2])
        mass = adata.uns["vgfm"]["trajectories"]["mean_mass"]
        np.testing.assert_allclose(found[column], mass, rtol=1e-3)
        assert table.loc[("mass", ""), column] == found[column].iloc[-1]
        assert table[column]["fate"].sum() == pytest.approx(1)
    np.testing.assert_allclose(found["estimate"], np.log(found["other"] / found["reference"]), rtol=1e-12)


def test_intervals_are_of_the_models_with_few_degrees_of_freedom(ensemble):
    adata = ensemble
    of_models = np.stack([asked(adata, "treated", k)[1] - asked(adata, "control", k)[1] for k in range(5)])
    np.testing.assert_allclose(adata.obs["vgfm_growth_difference"], of_models.mean(axis=0), rtol=1e-4, atol=1e-5)
    sd = of_models.std(axis=0, ddof=1)
    np.testing.assert_allclose(adata.obs["vgfm_growth_difference_sd"], sd, rtol=1e-3, atol=1e-5)
    t = of_models.mean(axis=0) / (sd * np.sqrt(1 + 1 / 5))
    wanted = stats.false_discovery_control(2 * stats.t.sf(np.abs(t), 3))  # 1/3 = 1/4 + 1/12
    np.testing.assert_allclose(adata.obs["vgfm_growth_difference_pvals_adj"], wanted, rtol=0.02, atol=1e-4)
    table = table_of(adata)
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()
    np.testing.assert_allclose(table["pvals_adj"], stats.false_discovery_control(table["pvals"]))
    assert adata.uns["vgfm"]["comparison"]["of"] == "samples"
    assert list(adata.uns["vgfm"]["comparison"]["table"]) == COLUMNS


def test_starting_cells_count_as_often_as_their_samples_were_drawn(ensemble):
    drawn = ensemble.uns["vgfm"]["samples"]["drawn"][0]
    codes = pd.Categorical(ensemble.obs["sample"], ensemble.uns["vgfm"]["samples"]["names"]).codes
    start = np.flatnonzero((ensemble.obs["condition"] == "treated") & (ensemble.obs["time"] == 0))
    model = get.model(ensemble, condition="treated", member=1)
    _, mass = model.simulate(ensemble.obsm["X_state"][start], np.array([0.0, 1.0, 2.0]), tol=1e-4)
    from vgfm_sc.tl import _two_conditions

    two = _two_conditions.read(ensemble, *BOTH, None, "vgfm", "cpu")
    found = two.outcomes(1000, 1e-4, np.random.default_rng(0))[1]
    np.testing.assert_allclose(found.mass[1], np.average(mass, axis=1, weights=drawn[codes[start]]), rtol=1e-3)
    assert two.freedom == pytest.approx(1 / (1 / 4 + 1 / 12)) and two.of == "samples"


@pytest.mark.filterwarnings(ONE_MODEL)
def test_turned_round_all_differences_change_their_sign(single):
    there, back = (single.copy() for _ in range(2))
    a, b = tl.compare(there, *BOTH, cluster_key="cell_type"), tl.compare(back, *BOTH[::-1], cluster_key="cell_type")
    of_sign = (a["effect"] != "velocity").to_numpy()
    np.testing.assert_allclose(a["estimate"][of_sign], -b["estimate"][of_sign], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(a["estimate"][~of_sign], b["estimate"][~of_sign], rtol=1e-4)
    np.testing.assert_allclose(
        there.obs["vgfm_growth_difference"], -back.obs["vgfm_growth_difference"], rtol=1e-5, atol=1e-7
    )


def test_one_model_has_no_intervals_and_says_so(single):
    adata = single.copy()
    with pytest.warns(UserWarning, match=r"This fit has one model, so there are no intervals.*n_models=5"):
        table = tl.compare(adata, *BOTH)
    assert table[["low", "high", "t", "pvals", "pvals_adj"]].isna().all(axis=None)
    assert table["effect"].tolist() == ["growth", "velocity", "mass"] and (table["cluster"] == "").all()
    assert adata.uns["vgfm"]["comparison"]["of"] == "none"


def test_models_of_cells_drawn_again_are_told_from_those_of_samples(cells):
    adata = tl.fit(cells, "time", copy=True, n_models=2, **QUICK)
    with pytest.warns(UserWarning, match="had cells drawn again, not samples.*Fit with sample_key"):
        tl.compare(adata, *BOTH)
    assert adata.uns["vgfm"]["comparison"]["of"] == "cells"


@pytest.mark.filterwarnings(ONE_MODEL, "ignore:.*have no cells at the first time")
def test_conditions_with_a_common_start_and_other_times_are_compared_where_both_are(cells):
    treated = (cells.obs["condition"] == "treated").to_numpy()
    time = cells.obs["time"].to_numpy()
    adata = cells[~(treated & (time == 0)) & ~(~treated & (time == 2))].copy()  # control ends at 1
    tl.fit(adata, "time", **QUICK)
    tl.compare(adata, *BOTH, cluster_key="cell_type")
    known = adata.obs["vgfm_growth_difference"].notna()
    assert (known == (adata.obs["time"] <= 1)).all()
    assert adata.uns["vgfm"]["comparison"]["mass"]["time"].tolist() == [0, 1]


@pytest.mark.filterwarnings(ONE_MODEL)
def test_cells_of_a_third_condition_are_not_compared(cells):
    adata = cells.copy()
    third = np.arange(adata.n_obs) % 3 == 0
    adata.obs["condition"] = np.where(third, "other", adata.obs["condition"].astype(str))
    tl.fit(adata, "time", **QUICK)
    tl.compare(adata, *BOTH, cluster_key="cell_type")
    assert (adata.obs["vgfm_growth_difference"].isna() == third).all()
    assert (np.isnan(adata.obsm["vgfm_velocity_difference_state"]).all(axis=1) == third).all()


def test_lengths_are_called_no_more_often_than_five_times_in_a_hundred_where_nothing_differs():
    """Mean and scatter of five draws of no difference, along one axis and along ten."""
    rng = np.random.default_rng(0)
    for d, most in ((1, 0.07), (10, 0.02)):
        draws = rng.standard_normal((2000, 5, d)) + rng.standard_normal((2000, 1, d))  # the sample is off by as much
        mean, scatter = draws.mean(axis=1), draws.var(axis=1).sum(axis=-1) * 5
        found = comparison.tested_lengths(mean, scatter, 5, 4)
        assert (found.pvals < 0.05).mean() <= most
        assert (found.low == 0).mean() >= 1 - most
    near = comparison.tested_lengths(mean + 50.0, scatter, 5, 4)
    assert (near.pvals < 0.05).all() and (near.low > 0).all()


def test_one_axis_and_one_direction_are_tested_as_numbers_are():
    values = np.random.default_rng(0).standard_normal((6, 30)) + 0.5
    found = comparison.tested_lengths(values.mean(axis=0)[:, None], values.var(axis=0) * 6, 6, 5)
    wanted = effects.tested(values, 1.0)
    np.testing.assert_allclose(found.pvals, wanted.pvals)
    np.testing.assert_allclose(found.estimate, np.abs(wanted.estimate))


WRONG = {
    "no such condition": (("control", "none"), {}, ValueError, r"no condition 'none'.*\['control', 'treated'\]"),
    "the same": (("control", "control"), {}, ValueError, "reference and other are both 'control'"),
    "no such column": (BOTH, {"cluster_key": "none"}, KeyError, "'none' not found.*'cell_type'"),
    "numbers": (BOTH, {"cluster_key": "time"}, TypeError, "holds numbers"),
    "no cells": (BOTH, {"n_cells": 0}, ValueError, "n_cells must be positive"),
    "device": (BOTH, {"device": "tpu"}, ValueError, "tpu"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_compared_is_refused(single, unchanged, what):
    names, arguments, error, words = WRONG[what]
    with unchanged(single), pytest.raises(error, match=words):
        tl.compare(single, *names, **arguments)


def test_conditions_without_a_common_time_are_refused(single, unchanged):
    first = (single.obs["time"] == 0) | (single.obs["condition"] == "treated")
    adata = single[first].copy()
    with unchanged(adata), pytest.raises(ValueError, match="No time after the first has cells of both"):
        tl.compare(adata, *BOTH)


def test_a_fit_without_conditions_is_refused(cells, unchanged):
    adata = tl.fit(cells, "time", use_rep="X_state", copy=True, **{**TINY, "match_steps": 2})
    with unchanged(adata), pytest.raises(ValueError, match="the fit has no conditions.*condition_key"):
        tl.compare(adata, *BOTH)


def test_samples_that_the_fit_does_not_know_are_refused(ensemble, unchanged):
    adata = ensemble.copy()
    adata.obs["sample"] = adata.obs["sample"].astype(str).replace("control_0_0", "new")
    with unchanged(adata), pytest.raises(ValueError, match=r"cells are of samples of obs\['sample'\] that the fit"):
        tl.compare(adata, *BOTH)


def test_samples_and_the_comparison_come_back_from_a_file(ensemble, tmp_path):
    ensemble.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(table_of(back), table_of(ensemble))
    again = tl.compare(back, *BOTH, cluster_key="cell_type", n_cells=30)
    pd.testing.assert_frame_equal(again.set_index(["effect", "cluster"]), table_of(ensemble))
    axes = pl.compare(back, show=False)
    assert len(axes) == 4


def test_a_new_fit_drops_the_comparison(ensemble):
    adata = ensemble.copy()
    tl.fit(adata, "time", **QUICK)
    assert "comparison" not in adata.uns["vgfm"] and "samples" not in adata.uns["vgfm"]
    assert not [name for name in (*adata.obs, *adata.obsm) if "difference" in name]
