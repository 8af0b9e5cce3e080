"""Data on which entropic transport is hard to solve, as methods couple them: outliers, duplicates, far clusters."""

import numpy as np
import pytest
import torch

import vgfm_sc
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.transport import entropic, sinkhorn

METHODS = {
    "balanced": lambda eps: vgfm_sc.methods.otcfm(eps=eps),
    "semi-relaxed": lambda eps: vgfm_sc.methods.vgfm(eps=eps),
}


def heavy(n, m, d):
    """Every axis is Student's t with two degrees of freedom, which has no variance."""
    rng = np.random.default_rng(0)
    return rng.standard_t(2, (n, d)), rng.standard_t(2, (m, d))


def duplicates(n, m, d):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n // 10, d)), rng.standard_normal((m // 10, d)) + 0.3
    return x[rng.integers(0, len(x), n)], y[rng.integers(0, len(y), m)]


def far_apart(n, m, d):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d)) + 0.3
    x[n // 2 :, 0] += 1e4
    y[m // 3 :, 0] += 1e4
    return x, y


def unitless(x, y):
    cells = np.concatenate([x, y])
    scaling = Scaling.of(cells, np.array([0.0, 1.0]))
    return [torch.as_tensor(scaling.to_unitless(z), dtype=torch.float32) for z in (x, y)]


def coupled(x, y, method):
    masses = torch.ones(len(x)), torch.ones(len(y))
    return method.coupling(x, y, *masses, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("eps", [1e-4, 2e-3, 1.0])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [heavy, duplicates, far_apart])
def test_plans_of_hard_data_converge(make, method, eps):
    x, y = unitless(*make(150, 120, 50 if make is heavy else 10))
    found = coupled(x, y, METHODS[method](eps))
    assert found.converged
    assert found.n_iter < 3000
    np.testing.assert_allclose(found.plan.sum(axis=0), 1, rtol=1e-4)
    if method == "balanced":
        assert np.abs(found.row_mass - 0.8).sum() / 120 < 2 * entropic.MARGINAL_TOL


@pytest.mark.slow
@pytest.mark.parametrize("eps", [1e-4, 2e-3])
@pytest.mark.parametrize("method", METHODS)
def test_plans_of_heavy_tails_converge(method, eps):
    found = coupled(*unitless(*heavy(1500, 1200, 50)), METHODS[method](eps))
    assert found.converged
    assert found.n_iter < entropic.MAX_PRODUCTS
    np.testing.assert_allclose(found.plan.sum(axis=0), 1, rtol=1e-4)


def test_potentials_of_outliers_are_optimal():
    """Complementarity: no pair has more mass than its potentials allow, and at a small eps mass lies where
    ``f + g = C`` to within some eps; weak duality bounds how far the cost is from the least possible."""
    x, y = (z.double() / 10 for z in unitless(*heavy(150, 120, 50)))
    eps, cost = 1e-4, torch.cdist(x, y).square().numpy()
    a, b = torch.full((150,), 0.8, dtype=torch.float64), torch.ones(120, dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    pairs = sinkhorn.Pairs(x, y, a, b, 5000)
    solved = sinkhorn.solve(pairs, eps=eps, rho=np.inf, tol=1e-6, max_iter=10_000, generator=draw)
    plan, slack = solved.entries.toarray(), cost - solved.f[:, None] - solved.g
    assert solved.converged
    assert slack.min() > -eps * np.log(200)
    assert slack[plan > 1e-3].max() < eps * np.log(1e4)
    dual = a.numpy() @ solved.f + b.numpy() @ solved.g
    assert 0 < (plan * cost).sum() - dual + eps * 120 * np.log(150) < eps * 120 * 2 * np.log(150)


@pytest.mark.parametrize("method", METHODS)
def test_a_subsample_of_outliers_is_a_start(monkeypatch, method):
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 80)
    x, y = unitless(*heavy(150, 120, 50))
    found = coupled(x, y, METHODS[method](0.002))
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 1000)
    whole = coupled(x, y, METHODS[method](0.002))
    assert found.converged
    assert np.abs((found.plan - whole.plan).toarray()).sum() / 120 < 5e-3
