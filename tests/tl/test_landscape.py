from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from vgfm_sc import get, tl
from vgfm_sc.core.dynamics import model as models
from vgfm_sc.core.dynamics.scaling import Scaling


@pytest.fixture
def normal(fitted) -> ad.AnnData:
    """A fit whose network of the log density says 0: the density is a standard normal one in unitless positions."""
    adata = fitted.copy()
    weights = adata.uns["vgfm"]["weights"]
    for name in [name for name in weights if name.startswith("density.")]:
        weights[name] = np.zeros_like(weights[name])
    return adata


@pytest.fixture
def without(fitted) -> ad.AnnData:
    """A fit without a score."""
    adata = fitted.copy()
    weights = adata.uns["vgfm"]["weights"]
    adata.uns["vgfm"]["weights"] = {n: value for n, value in weights.items() if not n.startswith("density.")}
    return adata


def height(adata) -> np.ndarray:
    """Minus the log density of `normal`, in the user's units."""
    x, about = adata.obsm["X_genes"], adata.uns["vgfm"]["scaling"]
    return ((x - about["centre"]) ** 2).sum(axis=1) / (2 * about["length"] ** 2)


def found(adata) -> np.ndarray:
    return adata.obs["vgfm_landscape"].to_numpy(dtype=float)


def test_log_density_is_the_known_one_up_to_a_constant(normal):
    answer = get.model(normal).log_density(1.5, normal.obsm["X_genes"])
    assert answer.shape == (normal.n_obs,) and answer.dtype == float
    off = answer + height(normal)
    np.testing.assert_allclose(off, off[0], atol=1e-5)


def test_log_density_is_asked_a_block_at_a_time_with_the_same_result(fitted, monkeypatch):
    x, t = fitted.obsm["X_genes"], fitted.obs["time"].to_numpy()
    wanted = get.model(fitted).log_density(t, x)
    monkeypatch.setattr(models, "BLOCK_CELLS", 100)
    np.testing.assert_allclose(get.model(fitted).log_density(t, x), wanted, atol=1e-5)


def test_slope_of_the_log_density_is_the_score(fitted):
    model, x = get.model(fitted), np.asarray(fitted.obsm["X_genes"][:20], dtype=float)
    inside = model._blocks(np.full(20, 2.0), x)
    score = np.concatenate([model.networks.score(*block).numpy() for block in inside])
    apart = 0.01 * model.scaling.length
    for axis, step in enumerate(apart * np.eye(2)):
        slope = (model.log_density(2.0, x + step) - model.log_density(2.0, x - step)) / (2 * apart)
        np.testing.assert_allclose(slope * model.scaling.length, score[:, axis], rtol=0.01, atol=0.01)


def test_with_fewer_axes_it_is_the_density_along_these(normal):
    model = get.model(normal)
    axes = np.eye(2, 3)
    wide = models.Model(model.networks, Scaling(np.zeros(3), 2.0, 0.0, 1.0, axes))
    x = 0.3 * np.random.default_rng(0).normal(size=(9, 3))  # within the box of the fit
    off = wide.log_density(0.0, x) + (x[:, :2] ** 2).sum(axis=1) / 8
    np.testing.assert_allclose(off, off[0], atol=1e-5)


def test_each_cell_is_asked_at_its_own_time_and_the_lowest_of_a_time_is_0(normal):
    assert tl.landscape(normal) is None
    assert normal.obs["vgfm_landscape"].dtype == np.float32
    wanted = height(normal)
    for time in range(5):
        here = (normal.obs["time"] == time).to_numpy()
        assert found(normal)[here].min() == 0
        np.testing.assert_allclose(found(normal)[here], wanted[here] - wanted[here].min(), atol=1e-5)
    assert np.isnan(normal.uns["vgfm"]["landscape"]["time"])


def test_own_times_and_one_time_agree_for_cells_of_that_time(fitted):
    own, one = fitted.copy(), fitted.copy()
    tl.landscape(own)
    tl.landscape(one, time=3)
    here = (fitted.obs["time"] == 3).to_numpy()
    off = (found(own) - found(one))[here]
    np.testing.assert_allclose(off, off[0], atol=1e-5)
    assert found(one).min() == 0 and one.uns["vgfm"]["landscape"] == {"time": 3.0}


def test_a_time_between_samples_is_a_time(fitted):
    adata = fitted.copy()
    tl.landscape(adata, time=1.5)
    wanted = -get.model(adata).log_density(1.5, adata.obsm["X_genes"])
    np.testing.assert_allclose(found(adata), wanted - wanted.min(), atol=1e-5)


def test_a_constant_of_the_network_at_each_time_is_not_seen(fitted):
    moved = fitted.copy()
    weights = moved.uns["vgfm"]["weights"]
    last = sorted(name for name in weights if name.startswith("density.") and name.endswith(".bias"))[-1]
    weights[last] = weights[last] + np.float32(7)
    wanted = fitted.copy()
    for adata in (moved, wanted):
        tl.landscape(adata)
    np.testing.assert_allclose(found(moved), found(wanted), atol=1e-4)


def test_a_label_names_a_time(fitted):
    adata = fitted.copy()
    adata.uns["vgfm"]["params"] |= {
        "time_map_labels": np.array(["0.0", "1.0", "2.0", "3.0", "late"]),
        "time_map_values": np.arange(5.0),
    }
    adata.obs["time"] = adata.obs["time"].astype(str).replace("4.0", "late").astype("category")
    tl.landscape(adata, time="late")
    assert adata.uns["vgfm"]["landscape"]["time"] == 4


def test_a_second_run_takes_the_place_of_the_first_and_a_new_fit_drops_it(fitted, small, tmp_path):
    adata = fitted.copy()
    tl.landscape(adata)
    tl.landscape(adata, time=2)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(found(again), found(adata))
    assert again.uns["vgfm"]["landscape"]["time"] == 2
    tl.fit(again, "time", **{**small, "match_steps": 2, "fit_steps": 0})
    assert "vgfm_landscape" not in again.obs and "landscape" not in again.uns["vgfm"]


def test_cells_of_other_times_are_refused_but_at_one_time(fitted, unchanged):
    adata = fitted.copy()
    late = (adata.obs["time"] == 4).to_numpy()
    adata.obs["time"] = adata.obs["time"].where(~late, 5.0)
    adata.obsm["vgfm_velocity_genes"][late] = np.nan  # the fit has not seen them
    with unchanged(adata), pytest.raises(ValueError, match=r"cells are from times \[5.0\]; the fit covers 0 to 4"):
        tl.landscape(adata)
    tl.landscape(adata, time=4)
    assert np.isfinite(found(adata)).all()


@pytest.mark.parametrize("time", [-0.1, 4.1, np.nan])
def test_times_outside_the_fit_are_refused(fitted, unchanged, time):
    adata = fitted.copy()
    with unchanged(adata), pytest.raises(ValueError, match="outside the range of the fit, 0 to 4"):
        tl.landscape(adata, time=time)


def test_a_fit_without_a_score_says_how_to_get_one(without, unchanged):
    with unchanged(without), pytest.raises(ValueError, match=r"has none.*vgfm_sc\.tl\.fit.*score=True"):
        tl.landscape(without)
