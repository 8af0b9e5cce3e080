from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from vgfm_sc import datasets, tl


def embedded(simulated, name="X_umap", curved=True):
    adata = simulated.copy()
    x = adata.obsm["X_genes"]
    adata.obsm[name] = np.column_stack([x[:, 0] * (1 + x[:, 1] ** 2), x[:, 1]]) if curved else x @ [[2.0], [1.0]] + 3
    return adata


def test_velocity_and_trajectories_are_laid_on_the_embedding(simulated):
    adata = embedded(simulated)
    before = adata.copy()
    assert tl.project(adata) is None
    assert adata.obsm["vgfm_velocity_umap"].shape == (adata.n_obs, 2)
    assert adata.obsm["vgfm_velocity_umap"].dtype == np.float32
    assert np.isfinite(adata.obsm["vgfm_velocity_umap"]).all()
    stored = adata.uns["vgfm"]["trajectories"]
    assert stored["positions_umap"].shape == stored["positions"].shape[:2] + (2,)
    for name in before.obsm:
        np.testing.assert_array_equal(adata.obsm[name], before.obsm[name])
    np.testing.assert_array_equal(stored["positions"], before.uns["vgfm"]["trajectories"]["positions"])


def test_linear_basis_is_exact(simulated):
    adata = embedded(simulated, "X_line", curved=False)
    tl.project(adata, "line")
    matrix = np.array([[2.0], [1.0]])
    np.testing.assert_allclose(
        adata.obsm["vgfm_velocity_line"], adata.obsm["vgfm_velocity_genes"] @ matrix, rtol=1e-4, atol=1e-6
    )
    stored = adata.uns["vgfm"]["trajectories"]
    np.testing.assert_allclose(stored["positions_line"], stored["positions"] @ matrix + 3, rtol=1e-4)


def test_without_trajectories_velocity_alone(fitted):
    adata = embedded(fitted)
    tl.project(adata)
    assert "trajectories" not in adata.uns["vgfm"] and "vgfm_velocity_umap" in adata.obsm


def test_bases_add_up_and_names_may_stand_without_x(simulated):
    adata = embedded(embedded(simulated), "spring")
    tl.project(adata)
    tl.project(adata, "spring")
    tl.project(adata, "spring")
    assert adata.uns["vgfm"]["derived"].tolist() == ["obsm:vgfm_velocity_spring", "obsm:vgfm_velocity_umap"]
    assert {"positions_umap", "positions_spring"} < set(adata.uns["vgfm"]["trajectories"])


def test_a_new_fit_drops_what_was_projected_of_the_old(simulated, small):
    adata = embedded(simulated)
    tl.project(adata)
    tl.fit(adata, "time", **{**small, "match_steps": 2})
    assert "vgfm_velocity_umap" not in adata.obsm and "derived" not in adata.uns["vgfm"]


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored(simulated, tmp_path, suffix):
    adata = embedded(simulated)
    tl.project(adata)
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    tl.project(again)
    np.testing.assert_array_equal(again.obsm["vgfm_velocity_umap"], adata.obsm["vgfm_velocity_umap"])


def test_bad_input_is_refused_and_changes_nothing(simulated, unfitted, unchanged):
    taken = embedded(simulated)
    taken.obsm["vgfm_velocity_umap"] = np.zeros((taken.n_obs, 2))
    hollow = embedded(simulated)
    hollow.obsm["X_umap"][3] = np.nan
    for adata, basis, error, message in (
        (unfitted.copy(), "umap", KeyError, r"vgfm_sc\.tl\.fit"),
        (simulated.copy(), "umap", KeyError, "Basis 'umap' not found.*genes"),
        (taken, "umap", ValueError, "not written from the fit"),
        (hollow, "umap", ValueError, "NaN"),
        (simulated.copy(), "genes", ValueError, "is the representation of the fit"),
    ):
        with unchanged(adata), pytest.raises(error, match=message):
            tl.project(adata, basis)


@pytest.mark.slow
def test_on_a_umap_velocity_points_where_cells_go():
    """Cells and where the true dynamics take them a little later are embedded together."""
    sc = pytest.importorskip("scanpy")
    later = 0.15
    adata = datasets.branching(n_cells=200, times=(0.0, 1.0, 2.0, 3.0), seed=0)
    future = adata.obsm["X_state"] + later * adata.obsm["true_velocity"]
    both = ad.AnnData(np.concatenate([adata.obsm["X_state"], future]))
    sc.pp.neighbors(both, n_neighbors=30, use_rep="X", random_state=0)
    sc.tl.umap(both, random_state=0)
    umap = both.obsm["X_umap"]
    adata.obsm["X_umap"] = umap[: adata.n_obs]
    tl.fit(adata, "time", use_rep="X_state", match_steps=1500, fit_steps=0, score=False, progress=False)
    tl.project(adata)
    moved = umap[adata.n_obs :] - umap[: adata.n_obs]
    found = adata.obsm["vgfm_velocity_umap"]
    cosine = (moved * found).sum(1) / np.linalg.norm(moved, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.mean() >= 0.8
