from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import datasets, get, tl
from vgfm_sc.tl import _changes, _perturbations

sc = pytest.importorskip("scanpy")

FEW = {"n_cells": 20, "n_replicates": 4}


@pytest.fixture(scope="module")
def on_genes(small) -> ad.AnnData:
    """Copy before changing."""
    adata = datasets.toggle_switch(n_per_branch=60, seed=0)
    tl.fit(adata, "time", **{**small, "use_rep": None})
    return adata


@pytest.fixture(scope="module")
def on_pca(small) -> ad.AnnData:
    """Thirty genes, of which a PCA used the first 24; copy before changing."""
    adata = datasets.branching(n_cells=60, n_dims=4, n_genes=30, n_growth_genes=3, times=(0.0, 1.0, 2.0), seed=0)
    adata.var["highly_variable"] = np.arange(30) < 24
    sc.pp.pca(adata, n_comps=6)
    return tl.fit(adata, "time", copy=True, **{**small, "use_rep": "X_pca"})


def prepared(adata: ad.AnnData, **arguments) -> _perturbations.Setting:
    """Twenty cells, unless told otherwise."""
    given = {
        "held": False,
        "start": None,
        "points": 1,
        "noise": 0.0,
        "n_cells": 20,
        "n_replicates": 2,
        "condition": None,
        "key": "vgfm",
    }
    return _perturbations.prepared(adata, "branch", **{**given, "seed": 0, "tol": 1e-4, "device": "cpu", **arguments})


def kept(adata: ad.AnnData, name: str) -> dict:
    return adata.uns["vgfm"]["perturbations"][name]


def test_the_table_is_returned_and_kept_with_all_that_it_is_made_of(on_genes):
    adata = on_genes.copy()
    table = tl.perturb(adata, {"gene2": "knockout"}, "branch", **FEW)
    stored = kept(adata, "gene2")
    pd.testing.assert_frame_equal(table, stored["table"])
    assert table["effect"].tolist() == ["fate", "fate", "mass", "energy"]
    assert table["fate"].tolist() == ["active", "quiescent", "", ""]
    assert stored["of"] == "cells" and stored["held"] and stored["cluster_key"] == "branch"
    each = stored["replicates"].pivot(index="replicate", columns=["effect", "fate"], values="value")
    assert each.shape == (4, 4)
    np.testing.assert_allclose(each.mean(), table["estimate"])
    assert (table["low"] < table["estimate"]).all() and (table["estimate"] < table["high"]).all()
    assert table.loc[:1, ["unchanged", "changed"]].sum().tolist() == pytest.approx([1, 1])
    assert stored["growth_replicates"].shape == (4, len(stored["growth"])) == (4, 40)
    np.testing.assert_allclose(stored["growth"]["estimate"] @ np.diff(stored["times"]), table["estimate"][2])
    growth = stored["growth"]
    np.testing.assert_allclose(growth["changed"] - growth["unchanged"], growth["estimate"])
    for name in ("positions", "positions_changed"):
        assert stored[name].shape == (*stored["mass"].shape, 2) and stored[name].dtype == np.float32
    assert set(adata.uns["vgfm"]) - {"perturbations"} == set(on_genes.uns["vgfm"])


def test_a_held_gene_keeps_its_value_and_one_set_at_the_start_moves_on(on_genes):
    adata = on_genes.copy()
    for held in (True, False):
        tl.perturb(adata, {"gene2": 0.5}, "branch", held=held, key_added=str(held), **FEW)
    there, free = (kept(adata, name)["positions_changed"][:, :, 1] for name in ("True", "False"))
    np.testing.assert_allclose(there, 0.5, atol=1e-5)
    np.testing.assert_allclose(free[0], 0.5, atol=1e-5)
    assert np.abs(free[-1] - 0.5).max() > 0.05
    same = kept(adata, "True")["positions"]
    np.testing.assert_array_equal(same, kept(adata, "False")["positions"])
    np.testing.assert_array_equal(kept(adata, "True")["positions_changed"][0, :, 0], same[0, :, 0])


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (1, lambda now, seen: 1 + 0 * now),
        (("set", 0.25), lambda now, seen: 0.25 + 0 * now),
        ("knockout", lambda now, seen: 0 * now),
        (("scale", 0.5), lambda now, seen: 0.5 * now),
        (("shift", 0.25), lambda now, seen: now + 0.25),
        ("overexpress", lambda now, seen: np.quantile(seen, 0.99) + 0 * now),
        (("overexpress", 0.5), lambda now, seen: np.median(seen) + 0 * now),
    ],
)
def test_what_can_be_made_of_a_gene(on_genes, wanted, made):
    adata = on_genes.copy()
    tl.perturb(adata, {"gene1": wanted}, "branch", key_added="a", start=1.0, **FEW)
    now, then = (kept(adata, "a")[name][0, :, 0] for name in ("positions", "positions_changed"))
    np.testing.assert_allclose(then, made(now, adata.X[:, 0]), atol=1e-5)


def test_where_expression_was_centred_a_knockout_is_the_lowest_value(on_genes):
    assert _changes._line("knockout", np.array([-0.7, 0.0, 2.0])) == (0.0, -0.7)
    assert _changes._line("knockout", np.array([0.3, 2.0])) == (0.0, 0.0)


def test_a_change_of_nothing_has_no_effect(on_genes):
    table = tl.perturb(on_genes.copy(), {"gene1": ("shift", 0.0)}, "branch", held=False, **FEW)
    np.testing.assert_allclose(table["estimate"], 0, atol=1e-6)


def test_through_components_the_genes_come_to_their_values(on_pca):
    adata = on_pca.copy()
    seen = adata[:, ["gene0", "gene5"]].X
    wanted = {"gene5": float(seen[:, 1].mean()), "gene0": float(np.quantile(seen[:, 0], 0.7))}
    tl.perturb(adata, wanted, "cell_type", **FEW)
    stored, genes = kept(adata, "gene5+gene0"), adata.var_names.get_indexer(["gene5", "gene0"])
    centre = adata.X.mean(axis=0, dtype=float)
    found = stored["positions_changed"] @ adata.varm["PCs"][genes].T + centre[genes]
    np.testing.assert_allclose(found, np.broadcast_to(list(wanted.values()), found.shape), atol=1e-4)
    np.testing.assert_allclose(stored["genes"]["after"], list(wanted.values()))
    assert stored["genes"]["names"].tolist() == ["gene5", "gene0"]
    carried = (adata.obsm["X_pca"] @ adata.varm["PCs"][genes].T).var(axis=0) / adata.X[:, genes].var(axis=0)
    np.testing.assert_allclose(stored["genes"]["carried"], carried, rtol=1e-4)


def test_a_knockout_is_what_components_see_of_cells_without_the_gene(on_pca):
    """They see the regression of what they carry on what there is."""
    adata = on_pca.copy()
    tl.perturb(adata, {"gene3": "knockout"}, "cell_type", **FEW)
    tl.perturb(adata, {"gene3": ("overexpress", 0.9)}, "cell_type", key_added="high", **FEW)
    k = adata.var_names.get_loc("gene3")
    there, seen = adata.X[:, k].astype(float), adata.obsm["X_pca"] @ adata.varm["PCs"][k]
    slope, level = np.polyfit(there, seen, 1)
    for name, value in (("gene3", 0.0), ("high", np.quantile(there, 0.9))):
        expected = there.mean() + level + slope * value
        np.testing.assert_allclose(kept(adata, name)["genes"]["after"], [expected], rtol=1e-3)
    found = kept(adata, "gene3")["positions_changed"] @ adata.varm["PCs"][k] + there.mean()
    np.testing.assert_allclose(found, there.mean() + level, rtol=1e-3)


def test_the_models_of_an_ensemble_are_the_replicates(small):
    adata = datasets.toggle_switch(n_per_branch=30, seed=0)
    tl.fit(adata, "time", n_models=3, **{**small, "use_rep": None, "match_steps": 10})
    tl.perturb(adata, {"gene2": 0.0}, "branch", n_cells=20)
    stored = kept(adata, "gene2")
    assert stored["of"] == "models" and stored["replicates"]["replicate"].nunique() == 3
    tl.perturb(adata, {"gene2": 0.0}, "branch", n_cells=20, n_replicates=4)
    assert kept(adata, "gene2")["of"] == "cells" and kept(adata, "gene2")["replicates"]["replicate"].nunique() == 4


def test_effects_of_a_replicate_are_those_of_its_cells_followed_by_themselves(on_genes):
    adata = on_genes.copy()
    setting = prepared(adata, n_replicates=3, tol=1e-6)
    (cells,) = setting.groups
    assert (cells.counts.sum(axis=1) == 20).all() and cells.counts.any(axis=0).all()
    tl.perturb(adata, {"gene2": 0.1}, "branch", n_cells=20, n_replicates=3, tol=1e-6, held=False)
    drawn = np.repeat(cells.x, cells.counts[1].astype(int), axis=0)
    model = get.model(adata)
    unchanged = model.simulate(drawn, [0, 4], tol=1e-6)[1][-1]
    drawn[:, 1] = 0.1
    changed = model.simulate(drawn, [0, 4], tol=1e-6)[1][-1]
    each = kept(adata, "gene2")["replicates"].query("effect == 'mass'")["value"].to_numpy()
    assert each[1] == pytest.approx(np.log(changed.sum() / unchanged.sum()), abs=1e-4)


def test_with_noise_every_draw_is_a_run_of_its_own_and_a_change_of_nothing_still_has_no_effect(on_genes):
    cells = prepared(on_genes.copy(), noise=0.1).groups[0]
    np.testing.assert_array_equal(cells.counts, np.kron(np.eye(2), np.ones(20)))
    adata = on_genes.copy()
    for held in (True, False):
        table = tl.perturb(adata, {"gene2": 0.25}, "branch", noise=0.1, held=held, key_added=str(held), **FEW)
        assert (np.abs(table["estimate"]) > 0).all()
    np.testing.assert_allclose(kept(adata, "True")["positions_changed"][:, :, 1], 0.25, atol=1e-5)
    assert np.ptp(kept(adata, "False")["positions_changed"][-1, :, 1]) > 0.05
    table = tl.perturb(adata, {"gene1": ("shift", 0.0)}, "branch", noise=0.1, held=False, **FEW)
    np.testing.assert_allclose(table["estimate"], 0, atol=1e-6)


def test_seeds_reproduce_and_later_calls_add_to_earlier_ones(on_genes, same_random_state):
    one, two = on_genes.copy(), on_genes.copy()
    first = tl.perturb(one, {"gene1": 0.0}, "branch", **FEW)
    tl.perturb(two, {"gene2": 0.0}, "branch", **FEW)
    pd.testing.assert_frame_equal(tl.perturb(two, {"gene1": 0.0}, "branch", **FEW), first)
    assert set(two.uns["vgfm"]["perturbations"]) == {"gene1", "gene2"}
    assert not tl.perturb(two, {"gene1": 0.0}, "branch", seed=1, **FEW).equals(first)


def test_a_new_fit_drops_it(on_genes, small):
    adata = on_genes.copy()
    tl.perturb(adata, {"gene1": 0.0}, "branch", **FEW)
    tl.fit(adata, "time", **{**small, "use_rep": None, "match_steps": 2})
    assert "perturbations" not in adata.uns["vgfm"]


def test_replicates_of_cells_that_were_not_asked_for_are_warned_of(on_genes):
    adata = on_genes.copy()
    with pytest.warns(UserWarning, match="one model.*n_models=5") as heard:
        tl.perturb(adata, {"gene1": 0.0}, "branch", n_cells=20)
    assert len(heard) == 1 and heard[0].filename == __file__
    assert kept(adata, "gene1")["replicates"]["replicate"].nunique() == 10
    with pytest.warns(UserWarning, match="one model"):
        tl.screen(adata, ["gene1"], "branch", n_cells=20, progress=False)


def test_values_that_no_cell_has_are_named(on_genes):
    high = float(on_genes.X[:, 0].max())
    with pytest.warns(UserWarning, match=rf"gene1 to 9 \(seen: 0 to {high:.3g}\)"):
        tl.perturb(on_genes.copy(), {"gene1": 9.0}, "branch", **FEW)
    with pytest.warns(UserWarning, match=r"gene1 to 3.* to .* \(seen"):
        tl.perturb(on_genes.copy(), {"gene1": ("shift", 3.0)}, "branch", **FEW)


def test_genes_that_the_representation_hardly_carries_are_named(on_pca, monkeypatch):
    monkeypatch.setattr(_changes, "LEAST_CARRIED", 1.0)
    with pytest.warns(UserWarning, match=r"less than 100% of the variance of 1 genes: gene3 \(\d+%\)"):
        tl.perturb(on_pca.copy(), {"gene3": ("scale", 1.0)}, "cell_type", **FEW)


def test_where_a_change_leads_beyond_the_cells_is_told(on_genes):
    adata = on_genes.copy()
    tl.perturb(adata, {"gene1": ("shift", 0.0)}, "branch", key_added="none", **FEW)
    with pytest.warns(UserWarning, match="no cell has"):
        tl.perturb(adata, {"gene1": 30.0}, "branch", key_added="far", **FEW)
    assert kept(adata, "none")["outside_start"] == 0
    assert kept(adata, "far")["outside_start"] == kept(adata, "far")["outside_end"] == 1


@pytest.mark.parametrize(
    ("genes", "arguments", "error", "message"),
    [
        ({"GENE_1": 0.0}, {}, KeyError, r"1 of 1 genes are not in adata.var_names: 'GENE_1' \(nearest: \['gene1"),
        ({"gene29": 0.0}, {}, KeyError, r"\['gene29'\] were not part of the PCA.*24 genes can be changed"),
        ({}, {}, TypeError, "must map names"),
        (["gene1"], {}, TypeError, "must map names"),
        ({"gene1": "off"}, {}, ValueError, r"genes\['gene1'\] must be a value, 'knockout'.*got 'off'"),
        ({"gene1": ("times", 2.0)}, {}, ValueError, r"got \('times', 2.0\)"),
        ({"gene1": ("scale", "a")}, {}, ValueError, r"got \('scale', 'a'\)"),
        ({"gene1": np.nan}, {}, ValueError, "got nan"),
        ({"gene1": True}, {}, ValueError, "got True"),
        ({"gene1": ("overexpress", 2.0)}, {}, ValueError, "between 0 and 1"),
        ({f"gene{k}": 1.0 for k in range(7)}, {}, ValueError, "7 genes cannot be changed at once: along the 6 axes"),
        ({"gene1": 1.0}, {"cluster_key": "no"}, KeyError, "'no' not found"),
        ({"gene1": 1.0}, {"cluster_key": "time"}, TypeError, "categories are needed"),
        ({"gene1": 1.0}, {"start": 2.0}, ValueError, "last time point, 2: a change has no time"),
        ({"gene1": 1.0}, {"start": [0, 1, 2]}, ValueError, "names 3 cells; at least 10"),
        ({"gene1": 1.0}, {"n_cells": 5}, ValueError, "n_cells must be at least 10"),
        ({"gene1": 1.0}, {"n_replicates": 1}, ValueError, "n_replicates must be at least 2"),
        ({"gene1": 1.0}, {"key_added": "a/b"}, ValueError, "without it"),
        ({"gene1": 1.0}, {"noise": -1.0}, ValueError, "noise must be at least 0"),
        ({"gene1": 1.0}, {"tol": 0}, ValueError, "tol must be positive"),
        ({"gene1": 1.0}, {"key": "b"}, KeyError, r"'b'.*'vgfm'"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(on_pca, unchanged, genes, arguments, error, message):
    arguments = {"cluster_key": "cell_type", **arguments}
    with unchanged(on_pca), pytest.raises(error, match=f"(?s){message}"):
        tl.perturb(on_pca, genes, **arguments)


def test_what_the_data_do_not_allow_is_refused(on_pca, fitted, unchanged):
    bare = on_pca.copy()
    del bare.varm["PCs"]
    last = on_pca.copy()
    last.obs["cell_type"] = last.obs["cell_type"].where(last.obs["time"] < 2)
    for adata, message in (
        (bare, "no 'PCs'"),
        (last, "missing in all cells of the last time point"),
        (fitted, "no 'X_genes'.*use_rep=None"),
    ):
        column = "branch" if adata is fitted else "cell_type"
        with unchanged(adata), pytest.raises((KeyError, ValueError), match=message):
            tl.perturb(adata, {"gene1": 1.0}, column)


def test_genes_that_always_go_together_cannot_be_changed_apart():
    weights, of_each = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]), np.ones(3)
    genes = _changes.Genes(["a", "b", "c"], weights, *[of_each] * 7)
    with pytest.raises(ValueError, match=r"2 genes cannot be changed at once.*\['a', 'b'\] always change together"):
        _changes.change(genes, ["a", "b"])
    assert _changes.change(genes, ["c", "a"]).weights.tolist() == weights[[2, 0]].tolist()


def test_expression_is_read_some_genes_at_a_time(on_pca, monkeypatch):
    whole = tl.screen(on_pca.copy(), ["gene3", "gene0", "gene7"], "cell_type", to="overexpress", **FEW)
    monkeypatch.setattr(_changes, "GENES_AT_ONCE", 2)
    parts = tl.screen(on_pca.copy(), ["gene3", "gene0", "gene7"], "cell_type", to="overexpress", **FEW)
    pd.testing.assert_frame_equal(parts, whole)


def test_genes_that_do_not_vary_are_refused(small):
    adata = datasets.toggle_switch(n_per_branch=30, seed=0)
    adata = ad.AnnData(np.column_stack([adata.X, np.ones(adata.n_obs)]), obs=adata.obs)
    adata.var_names = ["gene1", "gene2", "still"]
    tl.fit(adata, "time", **{**small, "use_rep": None, "match_steps": 2})
    with pytest.raises(ValueError, match=r"\['still'\] do not vary"):
        tl.perturb(adata, {"still": 0.0}, "branch")


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored(on_genes, tmp_path, suffix):
    adata = on_genes.copy()
    tl.perturb(adata, {"gene1": 0.0, "gene2": ("scale", 0.5)}, "branch", **FEW)
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    pd.testing.assert_frame_equal(kept(again, "gene1+gene2")["table"], kept(adata, "gene1+gene2")["table"])
    tl.perturb(again, {"gene1": 0.0}, "branch", **FEW)
    assert set(again.uns["vgfm"]["perturbations"]) == {"gene1", "gene1+gene2"}
