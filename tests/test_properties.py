"""What holds for any data: of couplings to the solver's tolerance, of fits to that of single precision.

Another order of the cells, or other axes, are like another seed to the velocity and growth of a fit: batches are drawn
by position, and the networks start from weights that prefer axes. The coupling, and so the masses, know neither.
"""

from __future__ import annotations

from functools import partial

import anndata as ad
import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vgfm_sc import get, methods, tl
from vgfm_sc.core.transport.entropic import MARGINAL_TOL

few = settings(derandomize=True, max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
fewer = settings(few, max_examples=6)

SOLVED = 1e-3
"""Share of the mass that two solutions of one problem may differ by; each meets its marginals to a tenth of that."""

METHODS = {
    "vgfm": methods.vgfm(),
    "without drift": methods.vgfm(drift_rho=None),
    "growth of each interval": methods.vgfm(shared_growth=False),
    "otcfm": methods.otcfm(),
    "wfr": methods.wfr(delta=5.0),
    "bridge": methods.Method(partial(methods.bridge(sigma=1).coupling, spread=0.3)),
}

seeds = st.integers(0, 2**32 - 1)
named = st.sampled_from(sorted(METHODS.keys() - {"wfr"}))  # which has a test of its own


@st.composite
def pairs_of_snapshots(draw):
    """Cells of unit variance and their masses; cells may coincide, and a whole snapshot may be one point."""
    n, m, d = draw(st.integers(2, 30)), draw(st.integers(2, 30)), draw(st.integers(1, 3))
    coordinates = st.floats(-3, 3, width=32)
    x = draw(arrays(np.float64, (n + m, d), elements=coordinates))
    masses = draw(arrays(np.float64, n + m, elements=st.floats(0.125, 8)))
    spread = np.sqrt(x.var(axis=0).mean())
    x = (x - x.mean(axis=0)) / (spread if spread > 1e-3 else 1)
    return x[:n], x[n:], masses[:n], masses[n:]


@st.composite
def courses(draw):
    """Two or three snapshots of 2 to 30 cells in 1 to 3 dimensions, with times and totals."""
    n = draw(st.lists(st.integers(2, 30), min_size=2, max_size=3))
    rng = np.random.default_rng(draw(seeds))
    intervals = draw(st.lists(st.floats(0.5, 2), min_size=len(n) - 1, max_size=len(n) - 1))
    times = draw(st.floats(-10, 10)) + np.concatenate([[0], np.cumsum(intervals)])
    totals = draw(st.lists(st.floats(0.1, 10), min_size=len(n), max_size=len(n)))
    x = rng.normal(size=(sum(n), draw(st.integers(1, 3)))) + np.repeat(np.arange(len(n)), n)[:, None]
    obs = pd.DataFrame({"time": np.repeat(times, n), "total": np.repeat(totals, n)}, np.arange(sum(n)).astype(str))
    return ad.AnnData(obs=obs, obsm={"X_r": x})


def fit(adata: ad.AnnData) -> ad.AnnData:
    tiny = {"width": 16, "depth": 2, "match_steps": 10, "match_size": 64, "fit_steps": 1, "fit_cells": 60}
    return tl.fit(adata, "time", use_rep="X_r", mass="total", progress=False, copy=True, **tiny)


def plan(name, x0, x1, mass0, mass1):
    tensors = [torch.as_tensor(part) for part in (x0, x1, mass0, mass1)]
    return METHODS[name].coupling(*tensors, torch.Generator().manual_seed(0))


def solved(*problem):
    coupling = plan(*problem)
    assume(coupling.converged)
    return coupling.plan.toarray()


def assert_same_plan(found, wanted, mass1):
    """Entries and row masses, as shares of all the mass that is sent."""
    assert np.abs(found - wanted).sum() < SOLVED * mass1.sum()
    assert np.abs(found.sum(axis=1) - wanted.sum(axis=1)).sum() < SOLVED * mass1.sum()


def assert_close(found, wanted, tol):
    assert np.abs(found - wanted).max() <= tol * np.abs(wanted).max()


@few
@given(pairs_of_snapshots(), named)
def test_plans_are_not_negative_and_meet_the_target(cells, name):
    coupling, mass1 = plan(name, *cells), cells[3]
    assert np.isfinite(coupling.plan.data).all() and (coupling.plan.data >= 0).all()
    if name == "otcfm" and not coupling.converged:  # groups of unlike size thousands of eps apart, and it says so
        assert coupling.marginal_error > MARGINAL_TOL
        return
    assert coupling.converged and (coupling.row_mass > 0).all()
    assert np.abs(coupling.plan.sum(axis=0) - mass1).sum() < SOLVED * mass1.sum()


@few
@given(pairs_of_snapshots(), named, seeds)
def test_plans_do_not_depend_on_the_order_of_cells(cells, name, seed):
    x0, x1, mass0, mass1 = cells
    rng = np.random.default_rng(seed)
    i, j = rng.permutation(len(x0)), rng.permutation(len(x1))
    wanted = solved(name, *cells)[i][:, j]
    assert_same_plan(solved(name, x0[i], x1[j], mass0[i], mass1[j]), wanted, mass1)


@few
@given(pairs_of_snapshots(), named, seeds)
def test_plans_do_not_depend_on_the_axes(cells, name, seed):
    x0, x1, mass0, mass1 = cells
    d = x0.shape[1]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    wanted = solved(name, *cells)
    assert_same_plan(solved(name, x0 @ turn + 1, x1 @ turn + 1, mass0, mass1), wanted, mass1)


@few
@given(pairs_of_snapshots(), seeds)
def test_wfr_plans_meet_the_target_whatever_the_order_and_the_axes(cells, seed):
    x0, x1, mass0, mass1 = cells
    rng, d = np.random.default_rng(seed), x0.shape[1]
    i, j, turn = rng.permutation(len(x0)), rng.permutation(len(x1)), np.linalg.qr(rng.normal(size=(d, d)))[0]
    coupling = plan("wfr", *cells)
    wanted = coupling.plan.toarray()
    assert coupling.converged and np.isfinite(wanted).all() and (wanted >= 0).all() and (coupling.row_mass > 0).all()
    np.testing.assert_allclose(wanted.sum(axis=0), mass1, rtol=1e-6)
    assert_same_plan(solved("wfr", x0[i], x1[j], mass0[i], mass1[j]), wanted[i][:, j], mass1)
    assert_same_plan(solved("wfr", x0 @ turn + 1, x1 @ turn + 1, mass0, mass1), wanted, mass1)


@fewer
@given(courses())
def test_fits_are_finite_with_positive_masses_and_meet_the_totals(adata):
    adata = fit(adata)
    assert np.isfinite(adata.obsm["vgfm_velocity_r"]).all() and np.isfinite(adata.obs["vgfm_growth"]).all()
    last = adata.obs["time"] == adata.obs["time"].max()
    assert (adata.obs["vgfm_mass"][~last] > 0).all() and adata.obs["vgfm_mass"][last].isna().all()
    first, total = adata.obs["total"].iloc[0], adata.obs.groupby("time")["total"].first().to_numpy()
    points = adata.uns["vgfm"]["time_points"]
    start = adata.obsm["X_r"][(adata.obs["time"] == points[0]).to_numpy()]
    positions, mass = get.model(adata).simulate(start, points, tol=1e-4)
    assert np.isfinite(positions).all() and (mass > 0).all()
    np.testing.assert_allclose(mass.mean(axis=1) * first, total, rtol=1e-4)


@fewer
@given(courses(), st.floats(-3, 3), st.floats(-100, 100))
def test_shifted_and_rescaled_times_rescale_velocity_and_growth(adata, exponent, shift):
    unit, other = 10**exponent, adata.copy()
    other.obs["time"] = unit * (adata.obs["time"] + shift)
    found, wanted = fit(other), fit(adata)
    assert_close(unit * found.obsm["vgfm_velocity_r"], wanted.obsm["vgfm_velocity_r"], 1e-3)
    assert_close(unit * found.obs["vgfm_growth"], wanted.obs["vgfm_growth"], 1e-3)
    assert_close(found.obs["vgfm_mass"].dropna(), wanted.obs["vgfm_mass"].dropna(), SOLVED)


@fewer
@given(courses(), st.floats(-6, 6), st.floats(-10, 10))
def test_a_shifted_and_rescaled_representation_rescales_velocity_and_leaves_growth(adata, exponent, shift):
    unit, other = 10**exponent, adata.copy()
    other.obsm["X_r"] = unit * (adata.obsm["X_r"] + shift)
    found, wanted = fit(other), fit(adata)
    assert_close(found.obsm["vgfm_velocity_r"] / unit, wanted.obsm["vgfm_velocity_r"], 1e-2)
    assert_close(found.obs["vgfm_growth"], wanted.obs["vgfm_growth"], 1e-2)
    assert_close(found.obs["vgfm_mass"].dropna(), wanted.obs["vgfm_mass"].dropna(), SOLVED)


@fewer
@given(courses(), seeds)
def test_masses_of_a_fit_depend_neither_on_the_order_of_cells_nor_on_the_axes(adata, seed):
    rng, d = np.random.default_rng(seed), adata.obsm["X_r"].shape[1]
    other = adata[rng.permutation(adata.n_obs)].copy()
    other.obsm["X_r"] = other.obsm["X_r"] @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    found, wanted = (fit(a).obs["vgfm_mass"].dropna() for a in (other, adata))
    assert np.abs(found[wanted.index] - wanted).sum() < SOLVED * wanted.sum()
