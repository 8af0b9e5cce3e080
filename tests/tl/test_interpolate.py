from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import datasets, get, tl
from vgfm_sc.core.reading.distances import displacement_interpolation, wasserstein1


def at(adata, time) -> np.ndarray:
    return np.flatnonzero(adata.obs["time"] == time)


def with_pca(adata: ad.AnnData, n_comps: int, train: np.ndarray | None = None) -> ad.AnnData:
    """Principal components of ``X`` as scanpy leaves them, fitted to the cells ``train``."""
    some = adata.X if train is None else adata.X[train]
    mean = some.mean(axis=0)
    axes = np.linalg.svd(some - mean, full_matrices=False)[2][:n_comps].T
    adata.obsm["X_pca"], adata.varm["PCs"] = (adata.X - mean) @ axes, axes
    return adata


@pytest.fixture(scope="module")
def on_genes(small) -> ad.AnnData:
    """A fit to a PCA of 40 genes; copy before changing."""
    adata = with_pca(datasets.branching(n_cells=120, n_genes=40, seed=0), 6)
    tl.fit(adata, "time", **{**small, "use_rep": "X_pca"})
    adata.uns["cell_type_colors"] = ["#111111", "#222222", "#333333"]
    return adata


def test_cells_are_those_of_the_time_before_carried_on(fitted, unchanged):
    with unchanged(fitted):
        found = tl.interpolate(fitted, 1.3)
    model, cells = get.model(fitted), at(fitted, 1)
    x, mass = model.simulate(fitted.obsm["X_genes"][cells], [1.0, 1.3], tol=1e-4)
    np.testing.assert_allclose(found.obsm["X_genes"], x[-1], atol=1e-5)
    np.testing.assert_allclose(found.obs["vgfm_mass"], mass[-1], rtol=1e-5)
    v, g = model(1.3, x[-1])
    np.testing.assert_allclose(found.obsm["vgfm_velocity_genes"], v, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.obs["vgfm_growth"], g, rtol=1e-4, atol=1e-5)
    assert found.obs["vgfm_parent"].tolist() == fitted.obs_names[cells].tolist()
    assert (found.obs["time"] == 1.3).all()
    assert found.obs_names.is_unique and not set(found.obs_names) & set(fitted.obs_names)
    for values in (found.obsm["X_genes"], found.obsm["vgfm_velocity_genes"], found.obs["vgfm_mass"]):
        assert values.dtype == np.float32
    assert found.uns["vgfm_interpolation"]["start"] == 1 and found.uns["vgfm_interpolation"]["time"] == 1.3


def test_a_sampled_time_is_simulated_from_the_one_before_and_the_first_is_as_observed(fitted):
    found = tl.interpolate(fitted, 2)
    assert found.uns["vgfm_interpolation"]["start"] == 1 and found.n_obs == len(at(fitted, 1))
    before = tl.interpolate(fitted, 2 - 1e-4)
    np.testing.assert_allclose(found.obsm["X_genes"], before.obsm["X_genes"], atol=1e-3)
    np.testing.assert_array_equal(tl.interpolate(fitted, 2 + 1e-9).obsm["X_genes"], found.obsm["X_genes"])
    first = tl.interpolate(fitted, 0)
    np.testing.assert_allclose(first.obsm["X_genes"], fitted.obsm["X_genes"][at(fitted, 0)], atol=1e-5)
    assert (first.obs["vgfm_mass"] == 1).all()


def test_mass_sums_to_the_predicted_number_of_cells(fitted):
    whole = tl.interpolate(fitted, 4)
    assert abs(whole.obs["vgfm_mass"].sum() / len(at(fitted, 4)) - 1) < 0.1
    part = tl.interpolate(fitted, 4, n_cells=30)
    assert part.n_obs == 30
    same = whole.obs.set_index("vgfm_parent").loc[part.obs["vgfm_parent"], "vgfm_mass"].to_numpy()
    np.testing.assert_allclose(part.obs["vgfm_mass"] / same, whole.n_obs / 30, rtol=1e-3)
    assert tl.interpolate(fitted, 4, n_cells=10_000).n_obs == whole.n_obs


def test_totals_that_were_given_are_the_unit_of_mass(unfitted, small):
    adata = tl.fit(unfitted, "time", copy=True, mass={0: 1e6, 1: 2e6, 2: 2e6, 3: 3e6, 4: 4e6}, **small)
    assert tl.interpolate(adata, 0).obs["vgfm_mass"].sum() == pytest.approx(1e6)
    assert tl.interpolate(adata, 1, n_cells=100).obs["vgfm_mass"].sum() == pytest.approx(2e6, rel=0.1)


def test_labels_are_those_of_the_neighbours(fitted):
    adata = fitted.copy()
    adata.obs["named"] = adata.obs["branch"].astype(str)
    adata.obs["high"] = adata.obsm["X_genes"][:, 0] > adata.obsm["X_genes"][:, 0].mean()
    found = tl.interpolate(adata, 2.5, cluster_key=["branch", "named", "high"])
    parents = adata.obs.loc[found.obs["vgfm_parent"]]
    assert (found.obs["branch"].to_numpy() == parents["branch"].to_numpy()).mean() > 0.98
    assert (found.obs["named"].astype(str) == found.obs["branch"].astype(str)).all()
    high = found.obsm["X_genes"][:, 0] > adata.obsm["X_genes"][:, 0].mean()
    assert (found.obs["high"].astype(bool) == high).mean() > 0.95


def test_categories_and_colors_come_along_whole(on_genes):
    adata = on_genes.copy()
    wanted = pd.CategoricalDtype(["fate_b", "unseen", "progenitor", "fate_a"], ordered=True)
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(wanted)
    adata.uns["cell_type_colors"] = ["#1", "#2", "#3", "#4"]
    found = tl.interpolate(adata, 1.5, cluster_key="cell_type")
    assert found.obs["cell_type"].dtype == wanted
    assert found.uns["cell_type_colors"] == ["#1", "#2", "#3", "#4"]
    assert set(found.obs["cell_type"]) == {"progenitor", "fate_a", "fate_b"}


def test_cells_without_a_label_are_not_asked(fitted, unchanged):
    adata = fitted.copy()
    adata.obs["branch"] = adata.obs["branch"].where(np.arange(adata.n_obs) % 10 == 0)
    found = tl.interpolate(adata, 2.5, cluster_key="branch").obs
    assert (found["branch"].to_numpy() == fitted.obs.loc[found["vgfm_parent"], "branch"].to_numpy()).mean() > 0.95
    adata.obs["branch"] = adata.obs["branch"].where(adata.obs["time"] == 0)
    with unchanged(adata), pytest.raises(ValueError, match="missing in all cells"):
        tl.interpolate(adata, 2.5, cluster_key="branch")


def test_principal_components_are_decoded_to_their_genes(on_genes, unchanged):
    with unchanged(on_genes):
        found = tl.interpolate(on_genes, 1.5, cluster_key="cell_type")
    assert found.X.dtype == np.float32 and found.var_names.tolist() == on_genes.var_names.tolist()
    wanted = on_genes.X.mean(axis=0) + found.obsm["X_pca"] @ on_genes.varm["PCs"].T
    np.testing.assert_allclose(found.X, wanted, rtol=1e-3, atol=1e-3)
    pd.testing.assert_frame_equal(found.var, on_genes.var)
    assert "obsm['X_pca']" in found.uns["vgfm_interpolation"]["expression"]


def test_genes_outside_the_pca_are_left_out_and_layers_named(on_genes):
    adata = on_genes.copy()
    adata.layers["log"] = adata.X.copy()
    adata.varm["PCs"][:5] = 0
    adata.varm["PCs"][5:] = np.linalg.qr(adata.varm["PCs"][5:])[0]
    adata.obsm["X_pca"] = (adata.X - adata.X.mean(axis=0)) @ adata.varm["PCs"]
    del adata.obsm["vgfm_velocity_pca"]  # it would be seen that these are other components
    adata.uns["pca"] = {"params": {"layer": "log"}}
    adata.X = np.full_like(adata.X, np.nan)
    found = tl.interpolate(adata, 1.5)
    assert found.var_names.tolist() == adata.var_names[5:].tolist()
    assert np.isfinite(found.X).all() and "layers['log']" in found.uns["vgfm_interpolation"]["expression"]


def test_without_loadings_there_are_no_genes_and_the_reason_is_told(fitted):
    found = tl.interpolate(fitted, 1.5)
    assert found.shape == (len(at(fitted, 1)), 0)
    words = found.uns["vgfm_interpolation"]["expression"]
    assert words.startswith("none: ") and "varm" in words


def test_of_a_fit_to_genes_these_are_simulated_themselves(small):
    adata = datasets.branching(n_cells=60, n_genes=12, n_growth_genes=3, seed=0)
    chosen = adata.var_names[[7, 2, 9]].tolist()
    tl.fit(adata, "time", **{**small, "use_rep": None, "match_steps": 5, "fit_steps": 0}, genes=chosen)
    found = tl.interpolate(adata, 0)
    assert found.var_names.tolist() == chosen and list(found.obsm) == ["vgfm_velocity_genes"]
    np.testing.assert_allclose(found.X, adata[at(adata, 0), chosen].X, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("genes", [True, False])
def test_the_result_can_be_stored_and_joined_to_the_data(on_genes, fitted, tmp_path, suffix, genes):
    adata, cluster = (on_genes, "cell_type") if genes else (fitted, "branch")
    found = tl.interpolate(adata, 1.5, cluster_key=cluster)
    path = tmp_path / f"a.{suffix}"
    getattr(found, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    assert again.shape == found.shape
    pd.testing.assert_frame_equal(again.obs, found.obs, check_dtype=False, check_categorical=False)
    assert again.obs[cluster].dtype == found.obs[cluster].dtype
    for name in found.obsm:
        np.testing.assert_array_equal(again.obsm[name], found.obsm[name])
    joined = ad.concat([adata, found], join="outer", label="from", keys=["observed", "simulated"])
    assert joined.obs_names.is_unique and joined.n_obs == adata.n_obs + found.n_obs


def test_same_seed_same_cells(fitted, same_random_state):
    first, again, other = (tl.interpolate(fitted, 1.5, n_cells=9, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first.obs, again.obs)
    np.testing.assert_array_equal(first.obsm["X_genes"], again.obsm["X_genes"])
    assert first.obs["vgfm_parent"].tolist() != other.obs["vgfm_parent"].tolist()


def test_order_of_the_cells_does_not_matter(on_genes):
    shuffled = on_genes[np.random.default_rng(0).permutation(on_genes.n_obs)].copy()
    wanted, found = (tl.interpolate(a, 1.5, cluster_key="cell_type") for a in (on_genes, shuffled))
    found.obs_names, wanted.obs_names = found.obs["vgfm_parent"], wanted.obs["vgfm_parent"]
    found = found[wanted.obs_names]
    np.testing.assert_allclose(found.obsm["X_pca"], wanted.obsm["X_pca"], atol=1e-4)
    np.testing.assert_allclose(found.X, wanted.X, atol=1e-3)
    assert (found.obs["cell_type"].to_numpy() == wanted.obs["cell_type"].to_numpy()).mean() > 0.99


def test_names_that_come_twice_are_kept_as_parents(fitted):
    adata = fitted.copy()
    adata.obs_names = pd.Index(["same"] * adata.n_obs)
    found = tl.interpolate(adata, 1.5)
    assert found.obs_names.is_unique and set(found.obs["vgfm_parent"]) == {"same"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"time": 1.5, "key": "other"}, KeyError, r"vgfm_sc\.tl\.fit.*key=\['vgfm'\]"),
        ({"time": -0.1}, ValueError, "time=-0.1 lies outside the range of the fit, 0 to 4"),
        ({"time": 4.1}, ValueError, "outside the range"),
        ({"time": np.nan}, ValueError, "outside the range"),
        ({"time": "1.5"}, TypeError, "as a number"),
        ({"time": True}, TypeError, "as a number"),
        ({"time": [1.5]}, TypeError, "time must be a time, as a number"),
        ({"time": None}, TypeError, "as a number"),
        ({"time": 1.5, "n_cells": 0}, ValueError, "n_cells must be positive"),
        ({"time": 1.5, "tol": 0.0}, ValueError, "tol must be positive"),
        ({"time": 1.5, "cluster_key": "leiden"}, KeyError, "'leiden' not found in adata.obs.*branch"),
        ({"time": 1.5, "cluster_key": "true_growth"}, TypeError, "categories are needed"),
    ],
    ids=str,
)
def test_bad_input_is_refused_and_changes_nothing(fitted, unchanged, arguments, error, message):
    adata = fitted.copy()
    with unchanged(adata), pytest.raises(error, match=message):
        tl.interpolate(adata, **arguments)


def test_columns_of_its_own_are_not_labels(fitted):
    adata = fitted.copy()
    adata.obs["time"] = adata.obs["time"].astype(str).astype("category")
    with pytest.raises(ValueError, match=r"columns \['time'\] of their own"):
        tl.interpolate(adata, 1.5, cluster_key="time")


def test_the_cells_to_start_from_must_be_there(fitted):
    kept = fitted[fitted.obs["time"] != 1].copy()
    with pytest.raises(ValueError, match="cells of time 1 are needed"):
        tl.interpolate(kept, 1.5)
    assert tl.interpolate(kept, 2.5).n_obs == len(at(fitted, 2))


@pytest.mark.slow
def test_a_time_that_was_left_out_is_met():
    """Fitted without the cells of one time, on principal components that have not seen them either."""
    adata = datasets.branching(n_cells=400, n_genes=60, times=(0.0, 1.0, 1.5, 2.0, 2.5), seed=0)
    out = (adata.obs["time"] == 2).to_numpy()
    with_pca(adata, 10, train=~out)
    rest, truth = adata[~out].copy(), adata[out].copy()
    tl.fit(rest, "time", fit_steps=0, score=False, progress=False)
    found = tl.interpolate(rest, 2.0, cluster_key="cell_type")

    x, mass, seen = found.obsm["X_pca"].astype(float), found.obs["vgfm_mass"].to_numpy(float), truth.obsm["X_pca"]
    before, after = (rest.obsm["X_pca"][at(rest, t)] for t in (1.5, 2.5))
    between, weight = displacement_interpolation(before, after, 0.5)
    order = np.random.default_rng(0).permutation(len(seen))
    floor = wasserstein1(seen[order[::2]], seen[order[1::2]])
    w1 = wasserstein1(x, seen, mass)  # 1.18; nearest 1.93, on straight lines 1.39, floor 1.04
    assert w1 < 0.7 * min(wasserstein1(before, seen), wasserstein1(after, seen))
    assert w1 < 0.95 * wasserstein1(between, seen, weight)
    assert w1 < 1.2 * floor

    assert abs(mass.sum() / len(seen) - 1) < 0.03
    share = found.obs.groupby("cell_type", observed=False)["vgfm_mass"].sum() / mass.sum()
    wanted = truth.obs["cell_type"].value_counts(normalize=True).reindex(share.index, fill_value=0.0)
    assert np.abs(share - wanted).max() < 0.08

    mean, earlier, spread = truth.X.mean(axis=0), rest.X[at(rest, 1.5)].mean(axis=0), truth.X.std(axis=0)
    error = np.abs(mass @ found.X / mass.sum() - mean) / spread
    assert error.max() < 0.15 < 0.8 < (np.abs(earlier - mean) / spread).max()
