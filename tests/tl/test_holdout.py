from __future__ import annotations

import warnings
from dataclasses import replace

import anndata as ad
import joblib
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import get, tl
from vgfm_sc.core.reading.distances import displacement_interpolation, energy_distance, spread, wasserstein1
from vgfm_sc.methods import Method, vgfm

TINY = {"use_rep": "X_r", "width": 16, "depth": 2, "match_steps": 30, "fit_steps": 0, "progress": False}
COLUMNS = ["time", "prediction", "energy", "spread", "w1", "mass_predicted", "mass_observed"]


def course(times=(0.0, 1.0, 4.0, 5.0), sizes=(30, 40, 50, 60), offset=7.0, seed=0):
    """A cloud that moves on, of different draws at each time, far from the origin."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0, 1, (n, 2)) + [t + offset, 0] for t, n in zip(times, sizes, strict=True)])
    obs = pd.DataFrame({"time": np.repeat(times, sizes)}, index=[f"cell{k}" for k in range(len(x))])
    return ad.AnnData(obs=obs, obsm={"X_r": x})


@pytest.fixture(scope="module")
def table():
    return tl.holdout(course(), "time", **TINY)


def test_a_row_for_each_time_between_others_and_each_prediction(table):
    assert list(table) == COLUMNS
    assert table["time"].tolist() == [1.0] * 4 + [4.0] * 4
    assert table["prediction"].tolist() == ["vgfm", "otcfm", "linear", "nearest"] * 2
    assert np.isfinite(table.drop(columns="prediction")).all(axis=None) and (table["w1"] > 0).all()
    assert table["mass_observed"].tolist() == [40.0] * 4 + [50.0] * 4


def test_nearest_are_the_cells_of_the_nearer_time_point_as_they_are(table):
    adata = course()
    x, time = adata.obsm["X_r"], adata.obs["time"]
    rows = table[table["prediction"] == "nearest"].set_index("time")
    for left_out, nearer in ((1.0, 0.0), (4.0, 5.0)):
        predicted, seen = x[time == nearer], x[time == left_out]
        for name, score in (("energy", energy_distance), ("spread", spread), ("w1", wasserstein1)):
            assert rows.loc[left_out, name] == pytest.approx(score(predicted, seen))
        assert rows.loc[left_out, "mass_predicted"] == (time == nearer).sum()


def test_the_earlier_is_nearest_if_both_are_as_near():
    adata = course(times=(0.0, 1.0, 2.0), sizes=(30, 40, 50))
    rows = tl.holdout(adata, "time", **TINY).set_index("prediction")
    assert rows.loc["nearest", "mass_predicted"] == 30


def test_linear_is_exact_on_a_translation_and_its_mass_geometric():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(40, 2))
    x = np.concatenate([start + [shift, 5] for shift in (0, 1.5, 2)])
    adata = course(times=(0.0, 3.0, 4.0), sizes=(40, 40, 40))
    adata.obsm["X_r"] = x
    rows = tl.holdout(adata, "time", **TINY).set_index("prediction")
    assert rows.loc["linear", "w1"] == pytest.approx(0, abs=1e-6)
    assert rows.loc["nearest", "w1"] == pytest.approx(0.5)
    assert rows.loc["linear", "mass_predicted"] == pytest.approx(40)

    uneven = course()
    x, time = uneven.obsm["X_r"], uneven.obs["time"]
    rows = tl.holdout(uneven, "time", times=1.0, **TINY).set_index("prediction")
    assert rows.loc["linear", "mass_predicted"] == pytest.approx(30**0.75 * 50**0.25)
    between, weight = displacement_interpolation(x[time == 0], x[time == 4], 0.25)
    for name, score in (("energy", energy_distance), ("spread", spread), ("w1", wasserstein1)):
        wanted = score(between, x[time == 1], weight)  # weights count: there are more points than cells
        assert rows.loc["linear", name] == pytest.approx(wanted) != score(between, x[time == 1])


def test_predictions_are_those_of_a_fit_that_never_saw_the_time_point(table):
    adata = course()
    x, time = adata.obsm["X_r"], adata.obs["time"]
    rest = adata[time != 4.0].copy()
    for method in ("vgfm", "otcfm"):
        tl.fit(rest, "time", method=method, **TINY)
        positions, mass = get.model(rest).simulate(x[time == 1.0], [1.0, 4.0], tol=1e-4)
        row = table[(table["time"] == 4.0) & (table["prediction"] == method)].iloc[0]
        for name, score in (("energy", energy_distance), ("spread", spread), ("w1", wasserstein1)):
            wanted = score(positions[-1], x[time == 4.0], mass[-1])
            assert row[name] == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        assert row["mass_predicted"] == pytest.approx(mass[-1].sum(), rel=1e-4)


def test_chosen_times_and_a_method_of_ones_own():
    own = Method(vgfm().coupling, name="mine")
    found = tl.holdout(course(), "time", times=[4.0], method=own, **TINY)
    assert found["prediction"].tolist() == ["mine", "otcfm", "linear", "nearest"]
    assert (found["time"] == 4.0).all()
    only = tl.holdout(course(), "time", times=4, method="otcfm", **TINY)
    assert only["prediction"].tolist() == ["otcfm", "linear", "nearest"]


def test_several_methods_are_compared_in_one_table_each_as_it_would_be_alone(table):
    mine = Method(vgfm().coupling, name="mine")
    found = tl.holdout(course(), "time", times=1, methods=["vgfm", mine, "otcfm"], **TINY)
    assert found["prediction"].tolist() == ["vgfm", "mine", "otcfm", "linear", "nearest"]
    alone = tl.holdout(course(), "time", times=1, method=mine, **TINY)
    for name, where in (("vgfm", table), ("otcfm", table), ("mine", alone)):
        for score in ("energy", "spread", "w1", "mass_predicted", "mass_observed"):
            wanted = where.loc[(where["prediction"] == name) & (where["time"] == 1), score].item()
            assert found.loc[found["prediction"] == name, score].item() == pytest.approx(wanted)


def test_a_mapping_names_methods_that_have_one_name():
    methods = {"drift": "vgfm", "no drift": vgfm(drift_rho=None)}
    found = tl.holdout(course(), "time", times=1, methods=methods, **TINY)
    assert found["prediction"].tolist() == ["drift", "no drift", "otcfm", "linear", "nearest"]
    assert found["w1"].nunique() == 5


def test_a_list_of_one_is_that_method(table):
    pd.testing.assert_frame_equal(tl.holdout(course(), "time", methods=["vgfm"], **TINY), table)


def test_a_prior_goes_to_the_methods_that_take_it():
    adata = course()
    adata.obs["rate"] = np.linspace(0, 9, adata.n_obs)
    arguments = {"times": 1, "methods": ["vgfm", "otcfm"], **TINY}
    plain, told = tl.holdout(adata, "time", **arguments), tl.holdout(adata, "time", growth_prior="rate", **arguments)
    assert (plain["w1"] != told["w1"]).tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match="no use for growth_prior"):
        tl.holdout(adata, "time", growth_prior="rate", **{**arguments, "methods": ["otcfm"]})


def test_times_may_be_labels():
    adata = course()
    adata.obs["stage"] = [f"E{t:g}" for t in adata.obs["time"]]
    time_map = {f"E{t:g}": t for t in (0, 1, 4, 5)}
    found = tl.holdout(adata, "stage", times=1.0, time_map=time_map, **TINY)
    pd.testing.assert_frame_equal(found, tl.holdout(course(), "time", times=1.0, **TINY))


def test_same_seed_same_table_which_is_kept_and_nothing_else_changes(table, unchanged, same_random_state):
    adata = course()
    with unchanged(adata):
        pd.testing.assert_frame_equal(tl.holdout(adata, "time", **TINY), table)
        kept = adata.uns.pop("vgfm_holdout")
    assert set(kept) == {"package", "scores"}
    pd.testing.assert_frame_equal(kept["scores"], table)


def test_on_a_view_nothing_is_kept(table, unchanged):
    adata = course()
    view = adata[adata.obs_names]
    with unchanged(adata):
        pd.testing.assert_frame_equal(tl.holdout(view, "time", **TINY), table)
    assert view.is_view and not view.uns


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_the_table_can_be_stored_and_is_replaced_by_the_next(table, tmp_path, suffix):
    adata = course()
    adata.uns["mine_holdout"] = {"package": "vgfm_sc", "scores": table}
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    found = again.uns["mine_holdout"]["scores"]
    pd.testing.assert_frame_equal(found, table, check_dtype=False, check_index_type=False)
    new = tl.holdout(again, "time", times=1.0, key_added="mine", **TINY)
    pd.testing.assert_frame_equal(again.uns["mine_holdout"]["scores"], new)
    assert list(again.uns) == ["mine_holdout"]


def test_workers_change_nothing(table, workers, unchanged, same_random_state):
    adata = course()
    with unchanged(adata), joblib.parallel_config(**workers):
        pd.testing.assert_frame_equal(tl.holdout(adata, "time", **TINY), table)
        del adata.uns["vgfm_holdout"]


def test_an_entry_that_is_not_ours_is_not_overwritten(unchanged):
    adata = course()
    for entry in ("mine", {"scores": 3}):
        adata.uns["vgfm_holdout"] = entry
        with unchanged(adata), pytest.raises(ValueError, match=r"uns\['vgfm_holdout'\], not written by.*key_added"):
            tl.holdout(adata, "time", **TINY)


def test_couplings_that_did_not_converge_are_warned_of_here(workers):
    def coupling(x0, x1, mass0, mass1, generator):
        return replace(vgfm().coupling(x0, x1, mass0, mass1, generator), converged=False)

    own = Method(coupling, name="mine")
    with joblib.parallel_config(**workers), pytest.warns(RuntimeWarning, match="did not converge") as caught:
        tl.holdout(course(), "time", method=own, **TINY)
    assert len(caught) == 4


def test_large_snapshots_are_thinned(table):
    found = tl.holdout(course(), "time", max_cells=20, **TINY)
    assert found["mass_observed"].tolist() == table["mass_observed"].tolist()
    plain = found["prediction"] != "linear"
    np.testing.assert_allclose(found["mass_predicted"][plain], table["mass_predicted"][plain], rtol=1e-6)
    assert not any(np.allclose(found[name], table[name]) for name in ("energy", "w1"))
    np.testing.assert_allclose(found["spread"][plain], table["spread"][plain], rtol=1e-6)  # of all cells


def test_a_representation_centred_on_all_cells_warns_at_the_callers_line():
    adata = course()
    adata.obsm["X_r"] -= adata.obsm["X_r"].mean(axis=0)
    with pytest.warns(UserWarning, match=r"obsm\['X_r'\] is centred on all cells") as caught:
        tl.holdout(adata, "time", times=1.0, **TINY)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("centre", ["nowhere near", "on the cells kept"])
def test_other_representations_do_not_warn(centre):
    adata = course()
    if centre == "on the cells kept":
        adata.obsm["X_r"] -= adata.obsm["X_r"][adata.obs["time"] != 1.0].mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tl.holdout(adata, "time", times=1.0, **TINY)


BAD = {
    "time unknown": ({"times": 2.0}, ValueError, r"times=\[2\.0\].*\[1\.0, 4\.0\]"),
    "first time": ({"times": [0.0, 1.0]}, ValueError, r"between others.*\[1\.0, 4\.0\]"),
    "last time": ({"times": 5}, ValueError, r"\[1\.0, 4\.0\]"),
    "no time": ({"times": []}, ValueError, r"\[1\.0, 4\.0\]"),
    "time NaN": ({"times": np.nan}, ValueError, r"\[1\.0, 4\.0\]"),
    "representation": ({"use_rep": "X_pca"}, KeyError, "X_pca"),
    "method": ({"method": "tigon"}, ValueError, "tigon"),
    "tol": ({"tol": 0}, ValueError, "tol must be positive"),
    "max_cells": ({"max_cells": 1}, ValueError, "max_cells must be at least 2"),
    "width": ({"width": 0}, ValueError, "width must be positive"),
    "copy": ({"copy": True}, TypeError, "does not accept copy"),
    "ensemble": ({"copy": True, "n_models": 3}, TypeError, "does not accept copy, n_models"),
    "key": ({"key_added": "a/b"}, ValueError, "key_added='a/b' contains '/'"),
    "named as a baseline": ({"method": Method(vgfm().coupling, name="linear")}, ValueError, "'linear'.*baseline"),
    "names twice": ({"methods": [vgfm(), vgfm(rho=2)]}, ValueError, r"2 methods named 'vgfm'.*methods=\{'vgfm a'"),
    "no methods": ({"methods": []}, ValueError, "methods is empty"),
    "methods is a name": ({"methods": "vgfm"}, TypeError, "methods must be a list.*got 'vgfm'"),
    "methods is one": ({"methods": vgfm()}, TypeError, "methods must be a list"),
    "method unknown": ({"methods": ["vgfm", "tigon"]}, ValueError, "tigon"),
    "a name of a baseline": ({"methods": {"nearest": "vgfm"}}, ValueError, "'nearest'.*baseline"),
    "a name that is no name": ({"methods": {1: "vgfm"}}, TypeError, "names in methods must be.*got 1"),
    "method and methods": ({"method": "otcfm", "methods": ["vgfm"]}, ValueError, "Both method and methods"),
    "argument unknown": ({"breadth": 3}, TypeError, "breadth"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(unchanged, case):
    arguments, error, message = BAD[case]
    adata = course()
    with unchanged(adata), pytest.raises(error, match=message):
        tl.holdout(adata, "time", **{**TINY, **arguments})


def test_two_time_points_are_too_few():
    adata = course(times=(0.0, 1.0), sizes=(30, 30))
    with pytest.raises(ValueError, match=r"at least three, found \[0\.0, 1\.0\]"):
        tl.holdout(adata, "time", **TINY)


def test_an_error_of_a_worker_keeps_its_type(workers):  # the last: joblib ends processes in which a job failed
    with joblib.parallel_config(**workers), pytest.raises(ValueError, match="width must be positive"):
        tl.holdout(course(), "time", **{**TINY, "width": 0})
