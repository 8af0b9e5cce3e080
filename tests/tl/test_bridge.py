"""Fits of `vgfm_sc.methods.bridge`, on problems with a solution in closed form."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from vgfm_sc import get, tl
from vgfm_sc.methods import Method, bridge

QUICK = {"use_rep": "X_r", "width": 32, "depth": 2, "match_size": 256, "fit_steps": 0, "progress": False}


def course(snapshots, times) -> ad.AnnData:
    n = [len(x) for x in snapshots]
    obs = pd.DataFrame({"day": np.repeat(times, n)}, index=np.arange(sum(n)).astype(str))
    return ad.AnnData(obs=obs, obsm={"X_r": np.concatenate(snapshots)})


@pytest.fixture(scope="module")
def shifted() -> ad.AnnData:
    """From N(0, 1) to N(3, 1) in 4 days, with Brownian motion of variance 1 in all, all cells growing alike."""
    x = norm.ppf((np.arange(300) + 0.5) / 300)[:, None]
    adata = course([x, x + 3], [2.0, 6.0])
    tl.fit(adata, "day", method=bridge(sigma=0.5, rho=100), match_steps=300, **QUICK)
    return adata


COVARIANCE = np.sqrt(1.25) - 0.5
"""Of a cell's two ends in the bridge between normal distributions of variance 1, with Brownian motion of variance 1."""


@pytest.mark.slow
def test_ends_covary_as_in_the_bridge(shifted):
    plan, x = get.couplings(shifted)[2.0, 6.0].toarray(), shifted.obsm["X_r"].ravel()
    assert x[:300] @ plan @ (x[300:] - 3) / plan.sum() == pytest.approx(COVARIANCE, abs=0.02)


@pytest.mark.slow
def test_populations_midway_are_those_of_the_bridge_with_noise_and_without(shifted):
    model = get.model(shifted)
    x0 = shifted.obsm["X_r"][:300]
    flow = model.simulate(x0, [2.0, 4.0, 6.0], tol=1e-3)[0][..., 0]
    tl.simulate(shifted, times=[4.0, 6.0], noise=0.5, n_cells=None)
    chance = shifted.uns["vgfm"]["trajectories"]["positions"][..., 0]
    for paths in (flow, chance):
        assert paths[1].mean() == pytest.approx(1.5, abs=0.15)
        assert paths[1].var() == pytest.approx((1 + COVARIANCE) / 2 + 0.25, rel=0.2)
        assert paths[2].mean() == pytest.approx(3, abs=0.2)
    kept, lost = (np.cov(paths[0], paths[2])[0, 1] for paths in (flow, chance))
    assert kept > 0.85 and lost == pytest.approx(COVARIANCE, abs=0.15)


def test_a_branch_of_which_half_dies_is_found():
    rng = np.random.default_rng(0)
    start, end = ([rng.normal(size=(n, 2)) * 0.5 + [x, y] for x, n in cells] for y, cells in
                  ((0, [(-4, 100), (4, 100)]), (2, [(-4, 100), (4, 50)])))  # fmt: skip
    adata = course([np.concatenate(start), np.concatenate(end)], [0.0, 2.0])
    tl.fit(adata, "day", method=bridge(sigma=0.3), match_steps=300, **QUICK)
    sent = adata.obs["vgfm_mass"].to_numpy()
    np.testing.assert_allclose([sent[:100].mean(), sent[100:200].mean()], [1, 0.5], rtol=0.01)
    growth = adata.obs["vgfm_growth"].to_numpy()[:200] * 2 / np.log(2)
    np.testing.assert_allclose([growth[:100].mean(), growth[100:].mean()], [0, -1], atol=0.1)


def test_the_number_of_a_users_own_method_arrives_by_interval():
    given = []

    def coupling(x0, x1, mass0, mass1, generator, *, spread):
        given.append(spread)
        return mass0[:, None] * mass1 / mass0.sum()

    rng = np.random.default_rng(0)
    adata = course([rng.normal(size=(20, 3)) * 7 for _ in range(3)], [0.0, 1.0, 4.0])
    own = Method(coupling, sigma=0.7, settings={"sigma": 0.7})
    tl.fit(adata, "day", method=own, match_steps=2, **QUICK)
    length = np.sqrt(adata.obsm["X_r"].var(axis=0).mean())
    np.testing.assert_allclose(given, 0.7 * np.sqrt([1, 3]) / length, rtol=1e-6)
    assert adata.uns["vgfm"]["params"]["method_settings"] == {"sigma": 0.7}


@pytest.mark.slow
def test_cells_are_not_carried_off_in_many_dimensions():
    """With the learning rate of other paths the last variance was 1.6 times the true one."""
    n, n_dims, times = 300, 30, np.arange(3.0)
    x = np.random.default_rng(0).standard_normal((len(times), n, n_dims))
    x[:, :, 0] += times[:, None]
    obs = pd.DataFrame({"time": np.repeat(times, n)}, index=[f"cell{k}" for k in range(len(times) * n)])
    adata = ad.AnnData(np.zeros((len(obs), 1), np.float32), obs=obs, obsm={"X_pca": x.reshape(-1, n_dims)})
    tl.fit(adata, "time", method=bridge(sigma=0.25), match_steps=1000, fit_steps=0, score=False, progress=False)
    positions, mass = get.model(adata).simulate(x[0], times, tol=1e-4)
    for cells, weight in zip(positions[1:], mass[1:], strict=True):
        centre = np.average(cells, axis=0, weights=weight)
        assert 0.75 < np.average((cells - centre) ** 2, axis=0, weights=weight).mean() < 1.25
