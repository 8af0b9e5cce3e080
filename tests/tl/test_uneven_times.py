"""Time courses sampled after minutes, hours and days: the results are in the user's time."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import torch

from vgfm_sc import get, methods, tl
from vgfm_sc.core.dynamics.networks import Networks

HOURS = np.array([0, 0.25, 6.0, 168.0])


@pytest.fixture(scope="module")
def response() -> ad.AnnData:
    """About the same shift and growth over each interval, and a prior; fitted. Copy before changing."""
    rng = np.random.default_rng(0)
    counts = (60, 80, 70, 100)
    x = rng.normal(size=(sum(counts), 3))
    x[:, 0] += np.repeat(1.5 * np.arange(4), counts)
    obs = {"hours": np.repeat(HOURS, counts), "rate": rng.normal(0, 0.1, len(x))}
    adata = ad.AnnData(np.zeros((len(x), 1), np.float32), obs=obs, obsm={"X_pca": x})
    adata.obs_names = [f"cell{k}" for k in range(len(x))]
    return tl.fit(adata, "hours", match_steps=300, fit_steps=10, width=64, progress=False, seed=0, copy=True)


def test_velocity_and_growth_are_slopes_per_hour_everywhere(response):
    model, x = get.model(response), response.obsm["X_pca"][:20]
    for t in (0.0, 0.1, 0.25, 1.0, 6.0, 30.0, 168.0):
        h = 2e-3 * max(t, 0.1) * (-1 if t == 168 else 1)
        positions, mass = model.simulate(x, [t, t + h], tol=1e-6)
        v, g = (
            np.mean([a, b], axis=0) for a, b in zip(model(t, positions[0]), model(t + h, positions[1]), strict=True)
        )
        scale = np.abs(v).max()
        np.testing.assert_allclose((positions[1] - positions[0]) / h, v, atol=0.02 * scale)
        np.testing.assert_allclose(np.log(mass[1]) / h, g, atol=0.02 * scale)


def test_every_snapshot_is_met(response):
    table = tl.evaluate(response)
    assert (table["w1"] < 1.2 * table["w1_floor"]).all()
    assert (table["rme"] < 0.01).all()


def test_speed_follows_the_length_of_the_interval(response):
    """The same shift in a quarter of an hour, in six, and in a week."""
    velocity = response.obsm["vgfm_velocity_pca"][:, 0]
    first, second, third, last = (np.median(velocity[response.obs["hours"] == t]) for t in HOURS)
    quick, slow, slowest = 1.5 / np.diff(HOURS)
    assert first == pytest.approx(quick, rel=0.5) and quick > second > slow
    assert slow > third > slowest
    # a course that slows down is slowest at its end: between .3 and .7 of the mean of the interval on other draws
    assert 0.25 * slowest < last < 1.5 * slowest


def test_hours_and_minutes_agree(response):
    other = response.copy()
    other.obs["minutes"] = 60 * other.obs["hours"] + 12
    tl.fit(other, "minutes", match_steps=300, fit_steps=10, width=64, progress=False, seed=0)
    scale = np.abs(response.obsm["vgfm_velocity_pca"]).max()
    np.testing.assert_allclose(
        60 * other.obsm["vgfm_velocity_pca"], response.obsm["vgfm_velocity_pca"], atol=0.01 * scale
    )


def test_a_stored_fit_keeps_its_clock(response, tmp_path):
    response.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    t, x = response.obs["hours"].to_numpy(), response.obsm["X_pca"]
    for found, wanted in zip(get.model(back)(t, x), get.model(response)(t, x), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_prior_is_per_hour(response):
    """Cells expected to grow alike over an interval: with a large rho they do, whatever its length."""
    adata = response.copy()
    before = dict(zip(HOURS[:-1], np.diff(HOURS), strict=True))
    adata.obs["rate"] /= adata.obs["hours"].map(before).fillna(1.0).to_numpy()
    method = methods.vgfm(rho=1e6, drift_rho=None, shared_growth=False)
    tl.fit(adata, "hours", growth_prior="rate", method=method, match_steps=5, fit_steps=0, width=8, progress=False)
    for t, dt in before.items():
        here = adata.obs["hours"] == t
        expected = (adata.obs["rate"] * dt)[here]
        found = np.log(adata.obs["vgfm_mass"][here].astype(float))
        np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=0.01)


def test_noise_is_per_square_root_of_an_hour(response, monkeypatch):
    monkeypatch.setattr(Networks, "score", lambda self, t, x: torch.zeros_like(x))
    still = response.copy()
    for name, weight in still.uns["vgfm"]["weights"].items():
        if name.startswith(("velocity", "growth")):
            still.uns["vgfm"]["weights"][name] = np.zeros_like(weight)
    tl.simulate(still, start=np.zeros(4000, dtype=int), n_cells=4000, times=list(HOURS), noise=0.03, seed=0)
    moved = np.diff(np.asarray(still.uns["vgfm"]["trajectories"]["positions"], dtype=float), axis=0)
    for increment, dt in zip(moved, np.diff(HOURS), strict=True):
        assert increment.std() == pytest.approx(0.03 * np.sqrt(dt), rel=0.03)
