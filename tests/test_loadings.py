from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from vgfm_sc import _anndata
from vgfm_sc._anndata import expression

sc = pytest.importorskip("scanpy")


def counts(n=150, p=40, seed=0):
    rng = np.random.default_rng(seed)
    state = rng.standard_normal((n, 3)) @ rng.standard_normal((3, p))
    adata = ad.AnnData(np.log1p(rng.poisson(np.exp(0.7 * state))).astype(np.float32))
    adata.var["highly_variable"] = np.arange(p) % 4 > 0
    return adata


def on(adata, use_rep="X_pca", **params):
    """As after a fit."""
    adata.uns["vgfm"] = {"package": "vgfm_sc", "weights": {}, "params": {"use_rep": use_rep, **params}}
    return adata


def dense(matrix):
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, dtype=float)


def assert_reconstructs(adata, loadings, x):
    """Least squares from the representation to genes has no better answer."""
    matrix = dense(adata.X if loadings.layer is None else adata.layers[loadings.layer])[:, loadings.genes]
    design = np.column_stack([np.ones(len(x)), x])
    best = np.sum((matrix - design @ np.linalg.lstsq(design, matrix)[0]) ** 2)
    assert np.sum((matrix - loadings.mean - x @ loadings.matrix.T) ** 2) <= best * 1.02


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
@pytest.mark.parametrize("options", [{}, {"zero_center": False}, {"mask_var": None}])
def test_of_a_pca(convert, options):
    adata = counts()
    wanted = dense(adata.X)
    adata.X = convert(adata.X)
    sc.pp.pca(adata, n_comps=8, **options)
    loadings = _anndata.read_loadings(on(adata), "vgfm")
    used = np.arange(40) if "mask_var" in options else np.flatnonzero(adata.var["highly_variable"])
    np.testing.assert_array_equal(loadings.genes, used)
    np.testing.assert_array_equal(loadings.matrix, adata.varm["PCs"][used].astype(float))
    np.testing.assert_allclose(loadings.sd, wanted[:, used].std(axis=0))
    assert loadings.layer is None
    if "zero_center" not in options:
        np.testing.assert_allclose(loadings.mean, wanted[:, used].mean(axis=0), atol=1e-5)
        assert_reconstructs(adata, loadings, adata.obsm["X_pca"])
    offset = loadings.mean @ loadings.matrix
    np.testing.assert_allclose(wanted[:, used] @ loadings.matrix - offset, adata.obsm["X_pca"], atol=1e-4)


def test_of_a_solver_that_is_not_exact():
    """With a flat spectrum, a randomized solver errs the most."""
    adata = ad.AnnData(np.random.default_rng(0).standard_normal((600, 500)).astype(np.float32))
    sc.pp.pca(adata, n_comps=30, svd_solver="randomized")
    loadings = _anndata.read_loadings(on(adata), "vgfm")
    missed = (adata.X - loadings.mean) @ loadings.matrix - adata.obsm["X_pca"]
    assert 0.01 < np.sqrt(np.mean(missed**2)) / adata.obsm["X_pca"].std() < 0.08


def test_of_a_layer_under_a_name_of_its_own():
    adata = counts()
    adata.layers["log"], adata.X = adata.X, np.zeros(adata.shape)
    sc.pp.pca(adata, n_comps=5, layer="log", key_added="own")
    loadings = _anndata.read_loadings(on(adata, "own"), "vgfm")
    assert loadings.layer == "log"
    assert_reconstructs(adata, loadings, adata.obsm["own"])


def test_cells_and_genes_that_the_pca_did_not_see_may_go_and_come_in_any_order():
    adata = counts()
    sc.pp.pca(adata, n_comps=8)
    rng = np.random.default_rng(0)
    high = np.flatnonzero(adata.obsm["X_pca"][:, 0] > 0)  # whose mean is far from that of all
    some = adata[rng.permutation(high), rng.permutation(np.flatnonzero(adata.var["highly_variable"]))].copy()
    loadings = _anndata.read_loadings(on(some), "vgfm")
    assert len(loadings.genes) == 30
    assert np.abs(loadings.mean - dense(some.X).mean(axis=0)).max() > 0.1
    left = dense(some.X) - loadings.mean - some.obsm["X_pca"] @ loadings.matrix.T
    np.testing.assert_allclose(left.mean(axis=0), 0, atol=1e-5)  # no other mean would leave less
    np.testing.assert_allclose((dense(some.X) - loadings.mean) @ loadings.matrix, some.obsm["X_pca"], atol=1e-4)


def test_shifted_genes_hold_in_the_units_of_the_matrix_at_hand():
    adata = counts()
    sc.pp.pca(adata, n_comps=8, mask_var=None)
    before = _anndata.read_loadings(on(adata), "vgfm")
    adata.X = adata.X + np.arange(40)
    after = _anndata.read_loadings(adata, "vgfm")
    np.testing.assert_array_equal(after.matrix, before.matrix)
    np.testing.assert_allclose(after.mean, before.mean + np.arange(40), rtol=1e-4)


@pytest.mark.parametrize("layer", [None, "log"])
def test_of_a_fit_to_genes(layer):
    adata = counts()
    adata.layers["log"] = adata.X.copy()
    names = np.asarray(["7", "3", "20"])
    params = {"genes": names} | ({} if layer is None else {"layer": layer})
    adata.uns["vgfm"] = {"package": "vgfm_sc", "weights": {}, "params": params}
    loadings = _anndata.read_loadings(adata, "vgfm")
    assert loadings.genes.tolist() == [7, 3, 20] and loadings.layer == layer
    assert loadings.matrix is None  # the identity of 20,000 genes would take gigabytes
    np.testing.assert_array_equal(loadings.mean, 0)
    np.testing.assert_allclose(loadings.sd, adata.X[:, [7, 3, 20]].std(axis=0, dtype=float))
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(loadings.to_genes(values), values)
    np.testing.assert_array_equal(loadings.along(None, np.array([2, 0])), np.eye(3)[[2, 0]])
    axes = np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))[0][:2]
    np.testing.assert_array_equal(loadings.along(axes, np.array([2, 0])), (np.eye(3) @ axes.T)[[2, 0]])


def scaled(adata):
    sc.pp.scale(adata)


def fewer_genes(adata):
    adata._inplace_subset_var(np.arange(40) != np.abs(adata.varm["PCs"][:, 0]).argmax())


def normalised(adata):
    adata.X = np.log1p(np.expm1(adata.X) / np.expm1(adata.X).sum(axis=1, keepdims=True) * 10).astype(np.float32)


def hollow(adata):
    adata.X[::50, 1] = np.nan


@pytest.mark.parametrize("change", [scaled, fewer_genes, normalised, hollow])
def test_a_matrix_changed_since_the_pca_is_refused(change, unchanged):
    adata = counts()
    sc.pp.pca(adata, n_comps=8)
    on(adata)
    change(adata)
    with unchanged(adata), pytest.raises(ValueError, match=r"adata\.X is no longer.*sc\.pp\.pca"):
        _anndata.read_loadings(adata, "vgfm")


def test_what_is_missing_is_named():
    adata = counts()
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.fit"):
        _anndata.read_loadings(adata, "vgfm")
    adata.obsm["X_scVI"] = np.random.default_rng(0).standard_normal((adata.n_obs, 4))
    with pytest.raises(KeyError, match=r"X_scVI.*sc\.pp\.pca.*use_rep=None"):
        _anndata.read_loadings(on(adata, "X_scVI"), "vgfm")
    adata.layers["log"] = adata.X.copy()
    sc.pp.pca(adata, n_comps=8, layer="log")
    del adata.layers["log"]
    with pytest.raises(ValueError, match=r"layers\['log'\].*Put it back"):
        _anndata.read_loadings(on(adata), "vgfm")
    adata.obsm["X_pca"] = adata.obsm["X_pca"][:, :5]
    del adata.uns["pca"]
    with pytest.raises(ValueError, match=r"varm\['PCs'\] has shape \(40, 8\).*5 dimensions"):
        _anndata.read_loadings(adata, "vgfm")
    adata.uns["vgfm"]["params"] = {"genes": np.asarray(["7", "FOXP3"])}
    with pytest.raises(KeyError, match="1 of 2 genes.*FOXP3"):
        _anndata.read_loadings(adata, "vgfm")


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, "dask"])
@pytest.mark.parametrize("some", [False, True])
def test_moments_in_blocks_are_those_of_the_whole(convert, some, monkeypatch):
    monkeypatch.setattr(expression, "BLOCK_NUMBERS", 40 * 17)
    adata = counts()
    adata.X[:, 5] = 3.3
    matrix = adata.X.astype(float)
    if convert == "dask":
        adata.X = pytest.importorskip("dask.array").from_array(adata.X, chunks=(40, -1))
    else:
        adata.X = convert(adata.X)
    cells = np.arange(3, 140, 2) if some else None
    wanted = matrix if cells is None else matrix[cells]
    columns = np.random.default_rng(0).standard_normal((len(wanted), 2))
    mean, sd, cross = _anndata.read_moments(adata, None, cells, columns)
    np.testing.assert_allclose(mean, wanted.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(sd, wanted.std(axis=0), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(cross, wanted.T @ columns / len(columns), rtol=1e-6, atol=1e-8)
    assert sd[5] == 0


def test_within_groups_what_sets_them_apart_does_not_count():
    adata = counts()
    groups = np.arange(150) % 4
    adata.X[:, 7] = groups
    sd = _anndata.read_moments(adata, None, groups=groups).sd
    left = adata.X.astype(float)
    for k in range(4):
        left[groups == k] -= left[groups == k].mean(axis=0)
    np.testing.assert_allclose(sd, left.std(axis=0), rtol=1e-6)
    assert sd[7] == 0
