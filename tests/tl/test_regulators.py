from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from vgfm_sc import datasets, get, tl

sc = pytest.importorskip("scanpy")


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Twenty genes of some hundred cells, of which a PCA used the first 16; copy before changing."""
    adata = datasets.branching(n_cells=60, n_dims=4, n_genes=20, n_growth_genes=3, times=(0.0, 1.0, 2.0), seed=0)
    adata.var["highly_variable"] = np.arange(20) < 16
    sc.pp.pca(adata, n_comps=6)
    return adata


@pytest.fixture(scope="module")
def on_pca(data, small) -> ad.AnnData:
    return tl.fit(data, "time", copy=True, **{**small, "use_rep": "X_pca"})


def matrix(table) -> pd.DataFrame:
    return table.pivot(index="target", columns="source", values="weight")


def test_a_known_linear_field_is_found(on_pca, monkeypatch):
    """Of genes that change as ``matrix_of_genes @ x`` in components, by which they act on each other."""
    on_pca = on_pca.copy()
    del on_pca.obsm["vgfm_velocity_pca"]  # of another field
    model = get.model(on_pca)
    model.networks.velocity = torch.nn.Linear(7, 6)
    monkeypatch.setattr(get, "model", lambda adata, key, **where: model)
    slope = model.networks.velocity.weight.detach().double().numpy()[:, :6] / model.scaling.time_unit
    wanted = on_pca.varm["PCs"][:16] @ slope @ on_pca.varm["PCs"][:16].T
    names = on_pca.var_names[:16]
    np.testing.assert_allclose(
        matrix(tl.regulators(on_pca)).loc[names, names], wanted, atol=1e-6 * np.abs(wanted).max()
    )


@pytest.mark.parametrize("some", [False, True])
def test_weights_are_the_differences_that_a_source_alone_makes(on_pca, some, unchanged):
    cells = on_pca.obs["time"].to_numpy() == 1 if some else np.ones(on_pca.n_obs, dtype=bool)
    with unchanged(on_pca):
        found = matrix(tl.regulators(on_pca, cells=np.flatnonzero(cells) if some else None))
    model, t = get.model(on_pca), on_pca.obs["time"].to_numpy()[cells]
    mean, loadings, h = on_pca.X.mean(axis=0, dtype=float), on_pca.varm["PCs"], 0.1
    wanted = np.empty((16, 16))
    for source in range(16):
        ends = []
        for sign in (1, -1):
            expressed = on_pca.X[cells].astype(float)
            expressed[:, source] += sign * h
            ends.append(model(t, (expressed - mean) @ loadings)[0].mean(axis=0) @ loadings[:16].T)
        wanted[:, source] = (ends[0] - ends[1]) / (2 * h)
    names = on_pca.var_names[:16]
    np.testing.assert_allclose(found.loc[names, names], wanted, atol=3e-3 * np.abs(wanted).max())


def test_genes_that_are_named_are_a_part_of_all(on_pca):
    whole = tl.regulators(on_pca)
    assert list(whole) == ["source", "target", "weight"] and len(whole) == 16 * 16
    assert (np.diff(whole["weight"].abs()) <= 0).all()
    names = ["gene7", "gene2", "gene11"]
    part = tl.regulators(on_pca, names)
    assert len(part) == 9
    pd.testing.assert_frame_equal(matrix(part), matrix(whole).loc[sorted(names), sorted(names)])
    pd.testing.assert_frame_equal(tl.regulators(on_pca, n_pairs=5), whole.head(5))
    assert tl.regulators(on_pca, "gene7")[["source", "target"]].to_numpy().tolist() == [["gene7", "gene7"]]


def test_in_gene_space(small):
    """In the toggle switch the two genes are the representation itself."""
    adata = datasets.toggle_switch(n_per_branch=60, seed=0)
    tl.fit(adata, "time", **{**small, "use_rep": None})
    model, x = get.model(adata), np.asarray(adata.X, dtype=float)
    t = adata.obs["time"].to_numpy(dtype=float)
    h = 0.02
    columns = [(model(t, x + e)[0] - model(t, x - e)[0]).mean(axis=0) / (2 * h) for e in h * np.eye(2)]
    wanted = np.stack(columns, axis=1)
    found = matrix(tl.regulators(adata)).loc[adata.var_names, adata.var_names]
    np.testing.assert_allclose(found, wanted, atol=5e-3 * np.abs(wanted).max())


def test_in_gene_space_trained_on_few_axes(small):
    """Weights lie along the axes that were trained on."""
    adata = datasets.branching(n_cells=150, n_dims=3, n_genes=110, n_growth_genes=2, times=(0.0, 1.0), seed=0)
    tl.fit(adata, "time", **{**small, "use_rep": None})
    axes = get.model(adata).scaling.axes
    assert axes is not None and len(axes) < 20
    names = adata.var_names
    found = matrix(tl.regulators(adata, n_pairs=110**2)).loc[names, names].to_numpy()
    np.testing.assert_allclose(axes.T @ (axes @ found @ axes.T) @ axes, found, atol=1e-9)
    model, x, t, h = get.model(adata), np.asarray(adata.X, dtype=float), adata.obs["time"].to_numpy(dtype=float), 0.5
    for source in (5, 60):
        step = h * np.eye(110)[source]
        wanted = (model(t, x + step)[0] - model(t, x - step)[0]).mean(axis=0) / (2 * h)
        np.testing.assert_allclose(found[:, source], wanted, atol=5e-3 * np.abs(found).max())


def test_bad_input_is_refused_and_changes_nothing(data, on_pca, fitted, unchanged):
    scaled = on_pca.copy()
    sc.pp.scale(scaled)
    twice = on_pca.copy()
    twice.var_names = ["gene0", *twice.var_names[:-1]]
    for adata, arguments, error, message in (
        (data.copy(), {}, KeyError, r"vgfm_sc\.tl\.fit"),
        (fitted.copy(), {}, KeyError, r"X_genes.*sc\.pp\.pca"),
        (scaled, {}, ValueError, "no longer the matrix"),
        (on_pca.copy(), {"genes": ["gene3", "FOXP3"]}, KeyError, "FOXP3"),
        (on_pca.copy(), {"genes": ["gene3", "gene18"]}, ValueError, "gene18.*16 genes"),
        (on_pca.copy(), {"genes": ["gene3", "gene3"]}, ValueError, "each gene once"),
        (on_pca.copy(), {"genes": []}, ValueError, "at least one"),
        (twice, {"genes": ["gene3"]}, ValueError, "var_names_make_unique"),
        (on_pca.copy(), {"cells": []}, ValueError, "boolean mask"),
        (on_pca.copy(), {"cells": np.zeros(on_pca.n_obs, dtype=bool)}, ValueError, "at least 1"),
        (on_pca.copy(), {"n_pairs": 0}, ValueError, "n_pairs must be positive"),
        (on_pca.copy(), {"n_pairs": 2.5}, TypeError, "n_pairs must be an integer"),
    ):
        with unchanged(adata), pytest.raises(error, match=message):
            tl.regulators(adata, **arguments)
