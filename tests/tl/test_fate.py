from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import tl


def at(adata, time) -> np.ndarray:
    return (adata.obs["time"] == time).to_numpy()


def named(adata, labels) -> ad.AnnData:
    """A copy with another column of clusters."""
    adata = adata.copy()
    adata.obs["cluster"] = labels
    return adata


def clusters(adata) -> pd.Categorical:
    """The branches, but only at the last time point; before it there is a progenitor, and a fate nobody reaches."""
    labels = np.where(at(adata, 4), adata.obs["branch"].astype(str), "progenitor")
    return pd.Categorical(labels, categories=["quiescent", "lost", "progenitor", "active"])


@pytest.mark.parametrize(("direction", "name", "end"), [("forward", "fate", 4), ("backward", "origin", 0)])
def test_writes_what_it_lists_and_nothing_else(fitted, direction, name, end):
    adata = fitted.copy()
    before = adata.copy()
    assert tl.fate(adata, "branch", direction=direction) is None
    table = adata.obsm[f"vgfm_{name}"]
    assert list(table.columns) == ["active", "quiescent"]
    assert (table.dtypes == np.float32).all() and table.index.equals(adata.obs_names)
    assert np.isfinite(table.to_numpy()).all() and (table.to_numpy() >= 0).all()
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
    own = pd.get_dummies(adata.obs["branch"][at(adata, end)])
    np.testing.assert_array_equal(table[at(adata, end)], own)
    about = adata.uns["vgfm"].pop(name)
    assert about["cluster_key"] == "branch" and about["clusters"].tolist() == ["active", "quiescent"]
    assert adata.uns["vgfm"].pop("derived").tolist() == [f"obsm:vgfm_{name}"]
    assert set(adata.obsm) == set(before.obsm) | {f"vgfm_{name}"} and list(adata.obs) == list(before.obs)
    assert set(adata.uns["vgfm"]) == set(before.uns["vgfm"])


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_branches_that_lie_apart_are_told_apart(fitted, direction):
    adata = fitted.copy()
    tl.fate(adata, "branch", direction=direction)
    table = adata.obsm["vgfm_fate" if direction == "forward" else "vgfm_origin"]
    assert (table.idxmax(axis=1).to_numpy() == adata.obs["branch"]).mean() > 0.99


def test_clusters_are_those_of_the_end_in_the_order_of_the_categories(fitted):
    adata = named(fitted, clusters(fitted))
    tl.fate(adata, "cluster")
    assert list(adata.obsm["vgfm_fate"].columns) == ["quiescent", "active"]
    tl.fate(adata, "cluster", direction="backward")
    assert list(adata.obsm["vgfm_origin"].columns) == ["progenitor"]
    np.testing.assert_array_equal(adata.obsm["vgfm_origin"], 1)
    assert set(adata.uns["vgfm"]) >= {"fate", "origin"}


@pytest.mark.parametrize(
    ("convert", "columns"),
    [
        (lambda branch: branch.astype(str), ["active", "quiescent"]),
        (lambda branch: branch == "active", ["True", "False"]),
        (lambda branch: (branch == "active").astype("boolean"), ["True", "False"]),
        (lambda branch: (branch == "active").astype(int).astype("category"), ["1", "0"]),
        (lambda branch: branch.astype(str).map({"active": "T/NK", "quiescent": "B"}), ["T_NK", "B"]),
    ],
)
def test_type_of_the_column_does_not_matter(fitted, convert, columns):
    usual, adata = fitted.copy(), named(fitted, convert(fitted.obs["branch"]))
    tl.fate(usual, "branch")
    tl.fate(adata, "cluster")
    table = adata.obsm["vgfm_fate"]
    assert sorted(table.columns) == sorted(columns)
    np.testing.assert_array_equal(table[columns], usual.obsm["vgfm_fate"])
    assert [name.replace("/", "_") for name in adata.uns["vgfm"]["fate"]["clusters"]] == list(table.columns)


def test_cells_without_a_label_are_judged_by_those_with_one(fitted):
    labels = fitted.obs["branch"].copy()
    labels[np.random.default_rng(0).random(len(labels)) < 0.5] = np.nan
    labels[~at(fitted, 4)] = np.nan  # not looked at
    adata = named(fitted, labels)
    tl.fate(adata, "cluster")
    table = adata.obsm["vgfm_fate"]
    assert np.isfinite(table.to_numpy()).all()
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
    assert (table.idxmax(axis=1).to_numpy() == adata.obs["branch"]).mean() > 0.99


def test_order_of_the_cells_does_not_matter(fitted):
    order = np.random.default_rng(0).permutation(fitted.n_obs)
    usual, shuffled = fitted.copy(), fitted[order].copy()
    for adata in (usual, shuffled):
        tl.fate(adata, "branch")
    np.testing.assert_allclose(shuffled.obsm["vgfm_fate"], usual.obsm["vgfm_fate"].iloc[order], atol=1e-5)


def test_subsets_and_dropped_time_points(fitted):
    whole, part = fitted.copy(), fitted[np.random.default_rng(0).random(fitted.n_obs) < 0.5].copy()
    without = fitted[~at(fitted, 2)].copy()
    for adata in (whole, part, without):
        tl.fate(adata, "branch")
    assert (part.obsm["vgfm_fate"].idxmax(axis=1).to_numpy() == part.obs["branch"]).mean() > 0.98
    # what became of the others does not depend on the cells that are gone
    np.testing.assert_allclose(without.obsm["vgfm_fate"], whole.obsm["vgfm_fate"][~at(whole, 2)], atol=1e-6)


def test_cells_from_between_the_time_points_are_followed_too(fitted):
    adata = fitted.copy()
    del adata.obsm["vgfm_velocity_genes"]  # it is of cells of time 2
    adata.obs["time"] = adata.obs["time"].replace(2.0, 2.25)
    tl.fate(adata, "branch")
    assert np.isfinite(adata.obsm["vgfm_fate"].to_numpy()).all()


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored(fitted, tmp_path, suffix):
    adata = named(fitted, fitted.obs["branch"].cat.rename_categories({"active": "A/1", "quiescent": "Zelle ö"}))
    adata.obs_names.name = "Zelle"
    tl.fate(adata, "cluster")
    tl.fate(adata, "branch", direction="backward")
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    for name in ("fate", "origin"):
        pd.testing.assert_frame_equal(again.obsm[f"vgfm_{name}"], adata.obsm[f"vgfm_{name}"])
        assert again.uns["vgfm"][name]["cluster_key"] == adata.uns["vgfm"][name]["cluster_key"]
        np.testing.assert_array_equal(again.uns["vgfm"][name]["clusters"], adata.uns["vgfm"][name]["clusters"])
    stored = again.obsm["vgfm_fate"]
    tl.fate(again, "cluster")
    pd.testing.assert_frame_equal(again.obsm["vgfm_fate"], stored)


def test_names_that_are_not_unique(fitted, tmp_path):
    usual, adata = fitted.copy(), fitted.copy()
    tl.fate(usual, "branch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.obs_names = np.repeat(["a", "b"], [5, adata.n_obs - 5])
        tl.fate(adata, "branch")
        adata.write_h5ad(tmp_path / "a.h5ad")
        again = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(again.obsm["vgfm_fate"], usual.obsm["vgfm_fate"])


def test_runs_with_noise_are_shares_of_runs_and_reproducible(fitted, same_random_state):
    first, again = fitted.copy(), fitted.copy()
    for adata in (first, again):
        tl.fate(adata, "branch", noise=0.1, n_runs=3, descendants=False)
        table = adata.obsm["vgfm_fate"].to_numpy()
        np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(first.obsm["vgfm_fate"], again.obsm["vgfm_fate"])
    apart = first.obsm["vgfm_fate"]["active"].groupby(first.obs["branch"].to_numpy()).mean()
    assert apart["active"] > 0.9 and apart["quiescent"] < 0.1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"noise": -1.0}, ValueError, "noise must be at least 0"),
        ({"noise": np.inf}, ValueError, "noise must be at least 0 and finite"),
        ({"noise": 0.1, "n_runs": 0}, ValueError, "n_runs must be positive"),
        ({"noise": 0.1, "direction": "backward"}, ValueError, "direction='forward'"),
        ({"descendants": False, "direction": "backward"}, ValueError, "direction='forward'"),
    ],
)
def test_noise_that_cannot_be_is_refused(fitted, unchanged, arguments, error, message):
    adata = fitted.copy()
    with unchanged(adata), pytest.raises(error, match=message):
        tl.fate(adata, "branch", **arguments)


def test_a_new_fit_drops_the_fates_of_the_old(fitted, small):
    adata = fitted.copy()
    tl.fate(adata, "branch")
    tl.fit(adata, "time", **{**small, "match_steps": 2})
    assert "vgfm_fate" not in adata.obsm and "fate" not in adata.uns["vgfm"]


def test_same_seed_same_fates(fitted, same_random_state):
    once, again = fitted.copy(), fitted.copy()
    for adata in (once, again):
        tl.fate(adata, "branch", seed=5)
    pd.testing.assert_frame_equal(once.obsm["vgfm_fate"], again.obsm["vgfm_fate"])


def test_bad_input_is_refused_and_changes_nothing(fitted, unfitted, unchanged):
    taken = fitted.copy()
    taken.obsm["vgfm_fate"] = np.zeros((taken.n_obs, 2))
    unseen = fitted.copy()
    del unseen.obsm["vgfm_velocity_genes"]
    later = unseen.copy()
    later.obs["time"] = later.obs["time"].replace(4.0, 5.0)
    lost = unseen.copy()
    lost.obs["time"] = lost.obs["time"].replace(1.0, 9.0)
    branch = fitted.obs["branch"].astype(str)
    indexed = fitted.copy()
    indexed.obs_names.name = "active"
    for adata, arguments, error, message in (
        (unfitted.copy(), {}, KeyError, r"vgfm_sc\.tl\.fit"),
        (fitted.copy(), {"key": "other"}, KeyError, "Fits present"),
        (fitted.copy(), {"cluster_key": "nope"}, KeyError, "'nope' not found.*branch"),
        (fitted.copy(), {"cluster_key": "true_growth"}, TypeError, "numbers; categories are needed"),
        (fitted.copy(), {"direction": "sideways"}, ValueError, "'forward', 'backward'"),
        (fitted.copy(), {"tol": 0}, ValueError, "tol must be positive"),
        (fitted.copy(), {"seed": -1}, ValueError, "seed must"),
        (fitted[~at(fitted, 4)].copy(), {}, ValueError, "no cells of the last time point, 4"),
        (fitted[~at(fitted, 0)].copy(), {"direction": "backward"}, ValueError, "no cells of the first time point, 0"),
        (later, {}, ValueError, "no cells of the last time point"),
        (lost, {}, ValueError, r"times \[9.0\]; the fit covers 0 to 4"),
        (named(fitted, branch.where(~at(fitted, 4))), {"cluster_key": "cluster"}, ValueError, "missing in all cells"),
        (named(fitted, branch.replace("active", "")), {"cluster_key": "cluster"}, ValueError, "Rename the clusters"),
        (
            named(fitted, branch.where(np.arange(len(branch)) % 2 == 0, "a/b").replace("active", "a_b")),
            {"cluster_key": "cluster"},
            ValueError,
            "reserved or not unique",
        ),
        (indexed, {}, ValueError, r"columns \['active'\], reserved"),
        (taken, {}, ValueError, "not written from the fit"),
    ):
        with unchanged(adata), pytest.raises(error, match=message):
            tl.fate(adata, **{"cluster_key": "branch", **arguments})


@pytest.mark.slow
def test_fates_of_a_branching_process_are_found_and_calibrated(fitted_branching):
    adata = fitted_branching.copy()
    tl.fate(adata, "cell_type")
    tl.fate(adata, "true_fate", direction="backward")
    of_a = (adata.obs["true_fate"] == "fate_a").to_numpy()
    p, origin = (adata.obsm[f"vgfm_{name}"]["fate_a"].to_numpy() for name in ("fate", "origin"))
    assert ((p > 0.5) == of_a).mean() >= 0.95
    assert ((origin > 0.5) == of_a).mean() >= 0.95
    assert ((p - of_a) ** 2).mean() < 0.05


@pytest.mark.slow
def test_probabilities_that_are_not_near_certain_are_calibrated(fitted_branching):
    """Over cells that are nearly certain, a mean error says nothing of the others."""
    adata = fitted_branching.copy()
    tl.fate(adata, "cell_type")
    p, of_a = adata.obsm["vgfm_fate"]["fate_a"].to_numpy(), (adata.obs["true_fate"] == "fate_a").to_numpy()
    unsure = (p > 0.2) & (p < 0.8)
    assert unsure.sum() > 20
    assert abs(p[unsure].mean() - of_a[unsure].mean()) < 0.15


@pytest.fixture(scope="module")
def ensemble(unfitted, small) -> ad.AnnData:
    """Three models, and clusters that lie among each other; copy before changing."""
    adata = tl.fit(unfitted, "time", copy=True, n_models=3, **{**small, "match_steps": 20, "fit_steps": 0})
    adata.obs["cluster"] = pd.Categorical(np.array(["a", "b", "c"])[np.arange(adata.n_obs) % 3])
    return adata


@pytest.mark.parametrize(("direction", "name", "end"), [("forward", "fate", 4), ("backward", "origin", 0)])
def test_an_ensemble_says_how_far_its_models_differ(ensemble, direction, name, end):
    adata, every = ensemble.copy(), []
    tl.fate(adata, "cluster", direction=direction)
    sd = adata.obsm[f"vgfm_{name}_sd"]
    for k in range(3):
        alone = ensemble.copy()
        others = alone.uns["vgfm"].pop("ensemble")
        del alone.obsm["vgfm_velocity_genes"]  # that of the first
        if k:
            alone.uns["vgfm"]["weights"] = others[str(k)]
        tl.fate(alone, "cluster", direction=direction)
        assert f"vgfm_{name}_sd" not in alone.obsm
        every.append(alone.obsm[f"vgfm_{name}"])
    pd.testing.assert_frame_equal(every[0], adata.obsm[f"vgfm_{name}"])
    assert (sd.dtypes == np.float32).all() and sd.index.equals(adata.obs_names)
    np.testing.assert_allclose(sd, np.std(every, axis=0, ddof=1), atol=1e-6)
    assert (sd.to_numpy()[at(adata, end)] == 0).all() and (sd.to_numpy()[~at(adata, end)] > 0).mean() > 0.9


def test_the_spread_of_fates_goes_with_the_ensemble(ensemble, small):
    adata = ensemble.copy()
    tl.fate(adata, "cluster")
    assert "obsm:vgfm_fate_sd" in adata.uns["vgfm"]["derived"]
    tl.fit(adata, "time", **{**small, "match_steps": 20, "fit_steps": 0})
    assert not {"vgfm_fate", "vgfm_fate_sd"} & set(adata.obsm)
