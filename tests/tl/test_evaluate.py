from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import get, tl
from vgfm_sc.core.reading import distances
from vgfm_sc.core.reading.distances import energy_distance, sampling_floor, total_variance, wasserstein1

COLUMNS = ["time", "energy", "energy_floor", "spread", "w1", "w1_floor", "rme", "mass_predicted", "mass_observed"]


@pytest.fixture
def fitted(fitted) -> ad.AnnData:
    """A copy: the table is kept in it."""
    return fitted.copy()


def test_columns_and_one_row_for_each_time_after_the_first(fitted):
    table = tl.evaluate(fitted)
    assert list(table) == COLUMNS
    assert table["time"].tolist() == [1, 2, 3, 4]
    assert np.isfinite(table).all(axis=None)
    assert (table[["energy_floor", "spread", "w1", "w1_floor"]] > 0).all(axis=None)


def test_energy_and_spread_are_of_all_cells_weighted_by_mass(fitted):
    table = tl.evaluate(fitted).set_index("time")
    x, time = fitted.obsm["X_genes"], fitted.obs["time"]
    positions, mass = get.model(fitted).simulate(x[time == 0], [0.0, 2.0], tol=1e-4)
    seen = x[time == 2]
    assert table.loc[2.0, "energy"] == pytest.approx(energy_distance(positions[1], seen, mass[1]), abs=1e-4)
    wanted = total_variance(positions[1], mass[1]) / total_variance(seen)
    assert table.loc[2.0, "spread"] == pytest.approx(wanted, rel=1e-3)


def test_simulated_cells_that_lie_closer_than_the_observed_ones_have_a_small_spread(fitted):
    wider = fitted.copy()
    del wider.obsm["vgfm_velocity_genes"]  # as of cells that the fit has not seen
    x, later = wider.obsm["X_genes"], wider.obs["time"] == 4
    x[later] = x[later].mean(axis=0) + 2 * (x[later] - x[later].mean(axis=0))
    found, wanted = (tl.evaluate(adata)["spread"].to_numpy() for adata in (wider, fitted))
    np.testing.assert_allclose(found, wanted * [1, 1, 1, 1 / 4], rtol=1e-6)


def test_the_floor_of_too_few_observed_cells_is_not_known(fitted, monkeypatch):
    monkeypatch.setattr(distances, "FLOOR_POINTS", 10)  # of halves of one cell there would be thousands
    few = fitted[(fitted.obs["time"] != 4) | (fitted.obs["time"] == 4).cumsum().le(3)].copy()
    table = tl.evaluate(few)
    assert table["energy_floor"].isna().tolist() == [False, False, False, True]
    assert table.drop(columns="energy_floor").notna().all(axis=None)


def test_masses_are_cells_observed_and_cells_predicted(fitted):
    table = tl.evaluate(fitted)
    counts = fitted.obs["time"].value_counts().sort_index().to_numpy()
    np.testing.assert_array_equal(table["mass_observed"], counts[1:])
    adata = fitted.copy()
    tl.simulate(adata, n_cells=None, times=[1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(table["mass_predicted"], adata.uns["vgfm"]["trajectories"]["mass"][1:].sum(1), rtol=1e-3)
    np.testing.assert_allclose(table["rme"], abs(table["mass_predicted"] - counts[1:]) / counts[1:])


def test_w1_is_the_cost_of_the_best_matching():
    """Against scipy's assignment, on cells of which one copy each is simulated with equal mass."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    from vgfm_sc.core.reading.distances import wasserstein1

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 1
    cost = cdist(x, y)
    np.testing.assert_allclose(wasserstein1(x, y, np.full(40, 7.0)), cost[linear_sum_assignment(cost)].mean())


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_distances_of_many_pairs_in_many_dimensions_are_those_of_few(monkeypatch, shift):
    """By products; cells 1,000 standard deviations from the origin, and some twice."""
    rng = np.random.default_rng(0)
    x, y, mass = rng.normal(size=(300, 8)) + shift, rng.normal(size=(250, 8)) + shift, rng.random(300) + 0.5
    x[:20] = y[:20]
    scores = []
    for few in (distances.FEW_PAIRS, 0):
        monkeypatch.setattr(distances, "FEW_PAIRS", few)
        floor = distances.energy_floor(y, mass, np.random.default_rng(0))
        scores.append([energy_distance(x, y, mass), floor, wasserstein1(x, y, mass)])
    np.testing.assert_allclose(*scores, rtol=1e-7)


@pytest.mark.parametrize("n", [40, 41, 400])
def test_the_floor_is_the_distance_of_samples_of_half_the_size(n):
    rng = np.random.default_rng(0)
    independent = [wasserstein1(*rng.normal(size=(2, n // 2, 3))) for _ in range(100)]
    found = [sampling_floor(rng.normal(size=(n, 3)), 5000, rng) for _ in range(10)]
    assert np.mean(found) == pytest.approx(np.mean(independent), abs=4 * np.std(independent) / 10**0.5)
    assert sampling_floor(rng.normal(size=(n, 3)), n // 4, rng) > 1.1 * np.mean(found)  # of fewer points it is more


def test_the_table_is_kept_and_nothing_else_changes(fitted, unchanged, same_random_state):
    with unchanged(fitted):
        kept = tl.evaluate(fitted), fitted.uns["vgfm"].pop("evaluation")
    pd.testing.assert_frame_equal(*kept)


def test_on_a_view_nothing_is_kept(fitted, unchanged):
    view = fitted[np.arange(fitted.n_obs) % 2 == 0]
    with unchanged(fitted):
        table = tl.evaluate(view)
    assert view.is_view and len(table) == 4
    pd.testing.assert_frame_equal(table, tl.evaluate(view.copy()))


def test_a_new_table_replaces_the_old_and_a_new_fit_drops_it(fitted, small):
    tl.evaluate(fitted)
    table = tl.evaluate(fitted, max_cells=50)
    pd.testing.assert_frame_equal(fitted.uns["vgfm"]["evaluation"], table)
    tl.simulate(fitted, n_cells=2, times=[1.0])
    assert "evaluation" in fitted.uns["vgfm"]
    tl.fit(fitted, "time", **{**small, "match_steps": 2, "fit_steps": 0})
    assert "evaluation" not in fitted.uns["vgfm"]


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_the_table_can_be_stored(fitted, tmp_path, suffix):
    table = tl.evaluate(fitted)
    path = tmp_path / f"a.{suffix}"
    getattr(fitted, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    np.testing.assert_array_equal(again.uns["vgfm"]["evaluation"].to_numpy(), table.to_numpy())
    assert list(again.uns["vgfm"]["evaluation"]) == list(table)


def test_same_seed_gives_the_same_table_on_drawn_cells(fitted):
    first, again, other = (tl.evaluate(fitted, max_cells=50, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not any(first[name].equals(other[name]) for name in ("energy", "energy_floor", "w1", "w1_floor"))
    np.testing.assert_array_equal(first["mass_predicted"], other["mass_predicted"])  # masses are of all cells


def test_order_of_the_cells_does_not_matter(fitted):
    shuffled = fitted[np.random.default_rng(0).permutation(fitted.n_obs)].copy()
    columns = ["energy", "spread", "w1", "rme", "mass_predicted", "mass_observed"]
    found, wanted = (tl.evaluate(adata)[columns] for adata in (shuffled, fitted))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_worse_positions_score_worse(fitted):
    moved = fitted.copy()
    del moved.obsm["vgfm_velocity_genes"]  # as of cells that the fit has not seen
    moved.obsm["X_genes"] = moved.obsm["X_genes"] + np.where(moved.obs["time"] > 0, 5, 0)[:, None]
    found, before = tl.evaluate(moved), tl.evaluate(fitted)
    assert (found["w1"] > before["w1"] + 4).all() and (found["energy"] > before["energy"] + 4).all()
    assert (found["energy"] > found["energy_floor"]).all() and (before["energy"] < before["energy_floor"]).all()


def test_a_missing_time_point_is_named(fitted):
    with pytest.raises(ValueError, match=r"time points \[2\.0\]"):
        tl.evaluate(fitted[fitted.obs["time"] != 2].copy())


def test_too_few_cells_to_draw_are_refused(fitted):
    with pytest.raises(ValueError, match="max_cells"):
        tl.evaluate(fitted, max_cells=1)


@pytest.mark.parametrize("tol", [0.0, -1.0])
def test_a_tolerance_that_is_not_positive_is_refused(fitted, tol):
    with pytest.raises(ValueError, match="tol"):
        tl.evaluate(fitted, tol=tol)


def test_without_a_fit_the_call_to_make_is_named(unfitted):
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.fit"):
        tl.evaluate(unfitted)
