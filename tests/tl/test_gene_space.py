"""Fits to the expression of genes, and the tools that read them."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vgfm_sc import datasets, get, pl, tl
from vgfm_sc.core.reading.distances import energy_distance, total_variance


@pytest.fixture(scope="module")
def genes(small) -> dict:
    """Settings of a small fit in gene space."""
    return {**small, "use_rep": None}


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Six genes of some hundred cells, those of ``var["chosen"]`` in ``obsm["X_chosen"]`` too; copy before changing."""
    adata = datasets.branching(n_cells=50, n_dims=3, n_genes=6, n_growth_genes=1, times=(0.0, 1.0, 2.5), seed=0)
    adata.var["chosen"] = [True, False, True, True, False, True]
    adata.obsm["X_chosen"] = adata.X[:, adata.var["chosen"]].astype(float)
    return adata


@pytest.fixture(scope="module")
def fitted_genes(data, genes) -> ad.AnnData:
    """Copy before changing."""
    adata = tl.fit(data, "time", genes="chosen", copy=True, **genes)
    tl.simulate(adata, n_cells=5)
    return adata


@pytest.fixture(scope="module")
def fitted_obsm(data, small) -> ad.AnnData:
    """The same numbers read from ``obsm``."""
    adata = tl.fit(data, "time", copy=True, **{**small, "use_rep": "X_chosen"})
    tl.simulate(adata, n_cells=5)
    return adata


def test_genes_give_what_the_same_numbers_in_obsm_give(fitted_genes, fitted_obsm):
    np.testing.assert_array_equal(fitted_genes.obsm["vgfm_velocity_genes"], fitted_obsm.obsm["vgfm_velocity_chosen"])
    for name in ("vgfm_growth", "vgfm_mass"):
        np.testing.assert_array_equal(fitted_genes.obs[name], fitted_obsm.obs[name])
    pd.testing.assert_frame_equal(tl.evaluate(fitted_genes), tl.evaluate(fitted_obsm))
    for pair, plan in get.couplings(fitted_obsm).items():
        assert (get.couplings(fitted_genes)[pair] != plan).nnz == 0


def test_trajectories_are_named_by_their_genes(fitted_genes, fitted_obsm):
    table, wanted = get.trajectories(fitted_genes), get.trajectories(fitted_obsm)
    assert list(table)[-4:] == ["gene0", "gene2", "gene3", "gene5"]
    np.testing.assert_array_equal(table.iloc[:, -4:], wanted.iloc[:, -4:])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
def test_a_sparse_layer_gives_what_dense_expression_gives(data, fitted_genes, genes, kind):
    adata = data.copy()
    adata.layers["log"] = kind(adata.X)
    adata.X = None
    tl.fit(adata, "time", layer="log", genes="chosen", **genes)
    assert adata.uns["vgfm"]["params"]["layer"] == "log"
    np.testing.assert_array_equal(adata.obs["vgfm_growth"], fitted_genes.obs["vgfm_growth"])
    tl.simulate(adata, n_cells=5)
    pd.testing.assert_frame_equal(get.trajectories(adata), get.trajectories(fitted_genes))


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_a_fit_survives_a_file_and_other_genes_beside_its_own(fitted_genes, tmp_path, kind):
    getattr(fitted_genes, f"write_{kind}")(tmp_path / "a")
    back = {"h5ad": ad.read_h5ad, "zarr": ad.read_zarr}[kind](tmp_path / "a")
    assert "use_rep" not in back.uns["vgfm"]["params"] and "layer" not in back.uns["vgfm"]["params"]
    assert list(back.uns["vgfm"]["params"]["genes"]) == ["gene0", "gene2", "gene3", "gene5"]
    for adata in (back, back[:, ::-1].copy(), back[:, back.var["chosen"]].copy()):
        pd.testing.assert_frame_equal(tl.evaluate(adata), tl.evaluate(fitted_genes))
        tl.simulate(adata, n_cells=5)
        pd.testing.assert_frame_equal(get.trajectories(adata), get.trajectories(fitted_genes))


def test_genes_missing_since_are_named(fitted_genes, unchanged):
    without = fitted_genes[:, ["gene0", "gene1", "gene2"]].copy()
    assert len(get.couplings(without)) == len(get.couplings(fitted_genes))  # needs no positions
    for tool in (tl.evaluate, tl.simulate):
        with unchanged(without), pytest.raises(KeyError, match=r"2 of 4 genes are not in.*gene3, gene5"):
            tool(without)


def test_velocity_and_trajectories_are_laid_on_an_embedding(fitted_genes, fitted_obsm):
    found, wanted = (adata.copy() for adata in (fitted_genes, fitted_obsm))
    for adata in (found, wanted):
        adata.obsm["X_umap"] = adata.obsm["X_state"][:, :2] ** 3
        tl.project(adata)
    np.testing.assert_array_equal(found.obsm["vgfm_velocity_umap"], wanted.obsm["vgfm_velocity_umap"])


def test_the_basis_of_the_fit_is_no_embedding(fitted_genes, unchanged):
    adata = fitted_genes.copy()
    adata.obsm["X_genes"] = adata.obsm["X_state"]  # another thing of that name
    for basis in ("genes", "X_genes"):
        with unchanged(adata), pytest.raises(ValueError, match="is the representation of the fit"):
            tl.project(adata, basis)


def test_plots_on_the_basis_of_the_fit_show_the_first_two_genes(fitted_genes):
    drawn = pl.growth(fitted_genes, show=False).collections[0].get_offsets()
    np.testing.assert_allclose(drawn, fitted_genes.X[:, [0, 2]], rtol=1e-6)
    assert pl.trajectories(fitted_genes, show=False).get_xlabel() == "genes1"


def test_times_left_out_are_predicted_in_gene_space(data, genes, small):
    settings = {**genes, "fit_steps": 0}
    found = tl.holdout(data, "time", genes="chosen", **settings)
    wanted = tl.holdout(data, "time", **{**settings, "use_rep": "X_chosen"})
    pd.testing.assert_frame_equal(found, wanted)


def test_expression_centred_on_all_cells_warns_by_its_name(data, genes):
    adata = data.copy()
    adata.layers["scaled"] = adata.X - adata.X.mean(axis=0)
    with pytest.warns(UserWarning, match=r"layers\['scaled'\] is centred on all cells"):
        tl.holdout(adata, "time", layer="scaled", **{**genes, "match_steps": 2, "fit_steps": 0})


def test_a_fit_of_the_other_kind_replaces_what_was_written(fitted_genes, genes, small):
    quick = {"match_steps": 2, "fit_steps": 0}
    adata = fitted_genes.copy()
    tl.fit(adata, "time", **{**small, "use_rep": "X_state", **quick})
    assert "vgfm_velocity_genes" not in adata.obsm and "genes" not in adata.uns["vgfm"]["params"]
    tl.fit(adata, "time", **{**genes, **quick})
    assert "vgfm_velocity_state" not in adata.obsm and adata.obsm["vgfm_velocity_genes"].shape[1] == 6
    adata.obsm["X_genes"] = adata.obsm["X_state"]  # the two kinds of fit may share a name
    tl.fit(adata, "time", **{**small, "use_rep": "X_genes", **quick})
    assert adata.obsm["vgfm_velocity_genes"].shape[1] == 3
    tl.fit(adata, "time", **{**genes, **quick})
    assert adata.obsm["vgfm_velocity_genes"].shape[1] == 6


def test_many_genes_are_trained_on_the_axes_that_stand_out(genes):
    adata = datasets.branching(n_cells=100, n_dims=4, n_genes=300, times=(0.0, 1.0), seed=0)
    adata.X = sparse.csr_matrix(adata.X)
    tl.fit(adata, "time", **genes)
    axes = adata.uns["vgfm"]["scaling"]["axes"]
    assert 4 <= len(axes) <= 10 and axes.shape[1] == 300
    assert adata.obsm["vgfm_velocity_genes"].shape == (adata.n_obs, 300)
    assert np.isfinite(adata.obsm["vgfm_velocity_genes"]).all()


BAD = {
    "layer with obsm": ({"use_rep": "X_chosen", "layer": "log"}, ValueError, "Pass use_rep=None"),
    "genes with the default": ({"use_rep": "X_pca", "genes": "chosen"}, ValueError, r"'X_pca'.*does not accept genes"),
    "layer missing": ({"layer": "log"}, KeyError, "Layer 'log' not found"),
    "gene unknown": ({"genes": ["gene0", "Sox2"]}, KeyError, "Sox2"),
    "column unknown": ({"genes": "highly_variable"}, KeyError, "'highly_variable' not found in adata.var"),
}


@pytest.mark.parametrize("tool", [tl.fit, tl.holdout])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(data, genes, unchanged, tool, case):
    arguments, error, message = BAD[case]
    with unchanged(data), pytest.raises(error, match=message):
        tool(data, "time", **{**genes, **arguments})


def test_a_users_own_entry_is_not_overwritten(data, genes, unchanged):
    adata = data.copy()
    adata.obsm["vgfm_velocity_genes"] = np.zeros((adata.n_obs, 2))
    with unchanged(adata), pytest.raises(ValueError, match=r"obsm\['vgfm_velocity_genes'\]"):
        tl.fit(adata, "time", **genes)


@pytest.mark.slow
def test_gene_space_finds_what_principal_components_find():
    """Simulated cells of both fits are taken to the state by one linear map of their principal components."""
    sc = pytest.importorskip("scanpy")
    adata = datasets.branching(n_cells=250, n_genes=1000, seed=0)
    sc.pp.pca(adata, n_comps=30, random_state=0)
    pca, centre = adata.varm["PCs"], adata.X.mean(axis=0)
    quick = {"match_steps": 2000, "fit_steps": 0, "score": False, "progress": False}
    tl.fit(adata, "time", **quick)
    tl.fit(adata, "time", use_rep=None, key_added="genes", **quick)
    truth, last = adata.obs["true_growth"], (adata.obs["time"] == 3).to_numpy()
    design = np.column_stack([adata.obsm["X_pca"], np.ones(adata.n_obs)])
    to_state = np.linalg.lstsq(design, adata.obsm["X_state"])[0]
    growth_r, observed = {}, adata.obsm["X_state"]
    first = (adata.obs["time"] == 0).to_numpy()
    left = energy_distance(observed[first], observed[last])
    for key, x in (("vgfm", adata.obsm["X_pca"]), ("genes", adata.X)):
        ends, mass = get.model(adata, key).simulate(x[first], [0.0, 3.0], tol=1e-4)
        ends = ends[-1] if key == "vgfm" else (ends[-1] - centre) @ pca
        state = np.column_stack([ends, np.ones(len(ends))]) @ to_state
        growth_r[key] = np.corrcoef(adata.obs[f"{key}_growth"], truth)[0, 1]
        assert energy_distance(state, observed[last], mass[-1]) < 0.01 * left
        assert total_variance(state, mass[-1]) / total_variance(observed[last]) == pytest.approx(1, abs=0.1)
    assert growth_r["genes"] > 0.7 and growth_r["genes"] > growth_r["vgfm"] - 0.05


@pytest.mark.parametrize("layer", [None, "counts"])
def test_expression_that_looks_like_counts_is_warned_of(data, genes, layer):
    adata = data.copy()
    counts = np.round(np.abs(adata.X))
    if layer is None:
        adata.X = counts
    else:
        adata.layers[layer] = counts
    with pytest.warns(UserWarning, match="holds whole numbers, as counts are.*normalize_total"):
        tl.fit(adata, "time", layer=layer, **genes)


def test_an_embedding_made_for_the_eye_is_warned_of(data, small):
    adata = data.copy()
    adata.obsm["X_umap"] = adata.obsm["X_chosen"][:, :2]
    with pytest.warns(UserWarning, match=r"obsm\['X_umap'\] is made to be looked at.*tl\.project"):
        tl.fit(adata, "time", **{**small, "use_rep": "X_umap"})
