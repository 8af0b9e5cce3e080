from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from vgfm_sc import datasets, tl

sc = pytest.importorskip("scanpy")


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Thirty genes of some hundred cells, of which a PCA used the first 24; copy before changing."""
    adata = datasets.branching(n_cells=60, n_dims=4, n_genes=30, n_growth_genes=3, times=(0.0, 1.0, 2.0), seed=0)
    adata.var["highly_variable"] = np.arange(30) < 24
    sc.pp.pca(adata, n_comps=6)
    return adata


@pytest.fixture(scope="module")
def on_pca(data, small) -> ad.AnnData:
    """Copy before changing."""
    return tl.fit(data, "time", copy=True, **{**small, "use_rep": "X_pca"})


def test_velocity_of_genes_is_what_the_components_see_of_it(on_pca):
    adata = on_pca.copy()
    assert tl.gene_velocity(adata) is None
    found, used = adata.layers["vgfm_velocity"], on_pca.var["highly_variable"].to_numpy()
    assert found.shape == adata.shape and found.dtype == np.float32
    np.testing.assert_array_equal(adata.var["vgfm_velocity_genes"], used)
    assert np.isnan(found[:, ~used]).all()
    back = found[:, used].astype(float) @ adata.varm["PCs"][used]
    np.testing.assert_allclose(back, adata.obsm["vgfm_velocity_pca"], rtol=1e-4, atol=1e-5)
    across = found[:, used] - adata.obsm["vgfm_velocity_pca"] @ adata.varm["PCs"][used].T
    np.testing.assert_allclose(across, 0, atol=1e-5)


def test_a_known_velocity_is_found_where_components_hold_all(monkeypatch):
    """Genes that are a linear map of the state, without noise, move by the same map of its velocity."""
    monkeypatch.setattr("vgfm_sc.tl._gene_velocity.models_and_cells", lambda *args: None)  # no model gave this velocity
    rng = np.random.default_rng(0)
    state = datasets.branching(n_cells=50, n_dims=3, times=(0.0, 1.0), seed=0)
    matrix = rng.standard_normal((3, 12))
    adata = ad.AnnData((state.obsm["X_state"] @ matrix + 5).astype(np.float32))
    sc.pp.pca(adata, n_comps=3)
    adata.uns["vgfm"] = {"package": "vgfm_sc", "weights": {}, "params": {"use_rep": "X_pca"}}
    adata.obsm["vgfm_velocity_pca"] = state.obsm["true_velocity"] @ matrix @ adata.varm["PCs"]
    tl.gene_velocity(adata)
    np.testing.assert_allclose(adata.layers["vgfm_velocity"], state.obsm["true_velocity"] @ matrix, atol=1e-4)


def test_in_gene_space_it_is_that_of_the_fit(data, small):
    adata = tl.fit(data, "time", copy=True, genes=["gene3", "gene1"], **{**small, "use_rep": None})
    tl.gene_velocity(adata)
    found = adata[:, ["gene3", "gene1"]].layers["vgfm_velocity"]
    np.testing.assert_array_equal(found, adata.obsm["vgfm_velocity_genes"])
    assert adata.var_names[adata.var["vgfm_velocity_genes"]].tolist() == ["gene1", "gene3"]
    assert np.isfinite(adata.layers["vgfm_velocity"]).sum() == 2 * adata.n_obs


def test_parts_shuffled_and_selected_objects_hold_the_same_numbers(on_pca, monkeypatch):
    whole = on_pca.copy()
    tl.gene_velocity(whole)
    rng = np.random.default_rng(0)
    cells, genes = rng.permutation(whole.n_obs)[:100], rng.permutation(24)
    some = on_pca[cells, genes].copy()
    monkeypatch.setattr("vgfm_sc.tl._gene_velocity.BLOCK_CELLS", 7)
    tl.gene_velocity(some)
    np.testing.assert_allclose(
        some.layers["vgfm_velocity"], whole.layers["vgfm_velocity"][cells][:, genes], rtol=1e-5, atol=1e-7
    )


def test_again_under_another_key_and_dropped_by_a_new_fit(on_pca, small):
    adata = on_pca.copy()
    tl.gene_velocity(adata)
    tl.gene_velocity(adata)
    quick = {**small, "use_rep": "X_pca", "match_steps": 2, "fit_steps": 0}
    tl.fit(adata, "time", key_added="b", **quick)
    tl.gene_velocity(adata, key="b")
    tl.fit(adata, "time", **quick)
    assert list(adata.layers) == ["b_velocity"]
    assert "b_velocity_genes" in adata.var and "vgfm_velocity_genes" not in adata.var


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored(on_pca, tmp_path, suffix):
    adata = on_pca.copy()
    tl.gene_velocity(adata)
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    tl.gene_velocity(again)
    np.testing.assert_array_equal(again.layers["vgfm_velocity"], adata.layers["vgfm_velocity"])
    np.testing.assert_array_equal(again.var["vgfm_velocity_genes"], adata.var["vgfm_velocity_genes"])


def test_bad_input_is_refused_and_changes_nothing(data, on_pca, fitted, unchanged):
    taken = on_pca.copy()
    taken.layers["vgfm_velocity"] = np.zeros(taken.shape)
    marked = on_pca.copy()
    marked.var["vgfm_velocity_genes"] = True
    scaled = on_pca.copy()
    sc.pp.scale(scaled)
    hollow = on_pca.copy()
    del hollow.obsm["vgfm_velocity_pca"]
    for adata, error, message in (
        (data.copy(), KeyError, r"vgfm_sc\.tl\.fit"),
        (fitted.copy(), KeyError, r"X_genes.*sc\.pp\.pca"),
        (taken, ValueError, r"layers\['vgfm_velocity'\], not written from the fit"),
        (marked, ValueError, r"var\['vgfm_velocity_genes'\], not written from the fit"),
        (scaled, ValueError, "no longer the matrix"),
        (hollow, KeyError, r"vgfm_velocity_pca.*vgfm_sc\.tl\.fit"),
    ):
        with unchanged(adata), pytest.raises(error, match=message):
            tl.gene_velocity(adata)
