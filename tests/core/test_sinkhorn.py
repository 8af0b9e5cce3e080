"""The solver against the conditions that define its solution, then against POT where that is valid."""

import numpy as np
import ot
import pytest
import torch

from vgfm_sc.core import newton, sinkhorn
from vgfm_sc.core.support import Matrix

TOL = 1e-5


def clouds(n, m, d, seed=0, apart=0.5):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), apart + rng.standard_normal((m, d))
    return torch.as_tensor(x) / (2 * d) ** 0.5, torch.as_tensor(y) / (2 * d) ** 0.5


def two_far_clusters(n, m):
    """Mass must change hands between clusters that no stored entry joins."""
    x, y = clouds(n, m, 3, seed=1, apart=0.0)
    x[n // 3 :, 0] += 4
    y[2 * m // 3 :, 0] += 4
    return x, y


def solve(x, y, eps, rho, **changed):
    a, b = torch.ones(len(x), dtype=torch.float64), torch.ones(len(y), dtype=torch.float64)
    if np.isinf(rho):
        a = a * (len(y) / len(x))
    settings = {"tol": TOL, "max_iter": 20_000, "block": 5000} | changed
    return sinkhorn.solve(x, y, a, b, eps=eps, rho=rho, generator=torch.Generator().manual_seed(0), **settings)


@pytest.mark.parametrize("eps", [1.0, 0.05, 0.002, 0.0003])
@pytest.mark.parametrize("rho", [0.05, 1.0, 20.0, np.inf])
@pytest.mark.parametrize("make", [lambda: clouds(120, 90, 5), lambda: two_far_clusters(90, 120)])
def test_marginals_and_optimality(make, eps, rho):
    x, y = make()
    solved = solve(x, y, eps, rho)
    plan = solved.entries.toarray()
    assert solved.converged
    assert solved.marginal_error < TOL
    np.testing.assert_allclose(plan.sum(0), 1, rtol=1e-6)
    want = np.exp(-solved.f / rho) * (len(y) / len(x) if np.isinf(rho) else 1.0)
    assert np.abs(plan.sum(1) - want).sum() / len(y) < 2 * TOL
    # the plan is the one that its potentials make
    log_plan = (solved.f[:, None] + solved.g - torch.cdist(x, y).square().numpy()) / eps
    if np.isinf(rho):
        log_plan += np.log(len(y) / len(x))
    np.testing.assert_allclose(plan, np.exp(log_plan), atol=1e-6)


@pytest.mark.parametrize(("eps", "rho"), [(0.05, 0.5), (0.02, 2.0), (0.1, 20.0)])
def test_agrees_with_pot_in_its_safe_range(eps, rho):
    x, y = clouds(60, 80, 4)
    cost = torch.cdist(x, y).square().numpy()
    reference = ot.unbalanced.sinkhorn_unbalanced(
        np.ones(60), np.ones(80), cost, reg=eps, reg_m=(rho, np.inf), reg_type="kl", numItermax=200_000, stopThr=1e-13
    )
    np.testing.assert_allclose(solve(x, y, eps, rho, tol=1e-9).entries.toarray(), reference, atol=1e-7)


def test_balanced_agrees_with_pot():
    x, y = clouds(60, 60, 4)
    reference = ot.sinkhorn(
        np.ones(60), np.ones(60), torch.cdist(x, y).square().numpy(), 0.05, stopThr=1e-12, numItermax=10**5
    )
    np.testing.assert_allclose(solve(x, y, 0.05, np.inf, tol=1e-9).entries.toarray(), reference, atol=1e-7)


def test_small_eps_approaches_exact_transport():
    x, y = clouds(70, 70, 3)
    cost = torch.cdist(x, y).square().numpy()
    plan = solve(x, y, 2e-4, np.inf).entries.toarray()
    exact = ot.emd2(np.ones(70), np.ones(70), cost)
    assert exact - 1e-3 <= (plan * cost).sum() <= exact * 1.01


def test_no_other_plan_is_better():
    """Moving mass within a column, which keeps the exact marginal, never lowers the objective."""
    eps, rho = 0.02, 0.7
    x, y = clouds(40, 50, 3)
    cost = torch.cdist(x, y).square().numpy()

    def objective(plan):
        row = plan.sum(1)
        entropy = (plan * np.log(np.maximum(plan, 1e-300)) - plan).sum()
        return (plan * cost).sum() + eps * entropy + rho * (row * np.log(row) - row).sum()

    plan = solve(x, y, eps, rho, tol=1e-10).entries.toarray()
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = plan * np.exp(0.1 * rng.standard_normal(plan.shape))
        assert objective(other / other.sum(0)) > objective(plan)


def test_blocks_and_subsample_do_not_change_the_answer(monkeypatch):
    x, y = clouds(300, 250, 4)
    whole = solve(x, y, 0.01, 1.0, block=10**6, tol=1e-8)
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 60)
    blocked = solve(x, y, 0.01, 1.0, block=700, tol=1e-8)
    np.testing.assert_allclose(blocked.entries.toarray(), whole.entries.toarray(), atol=1e-6)


def test_iteration_cap_is_reported():
    x, y = two_far_clusters(90, 120)
    solved = solve(x, y, 0.0003, 20.0, max_iter=3)
    assert not solved.converged
    assert solved.marginal_error > TOL


def test_masses_are_respected():
    x, y = clouds(50, 40, 3)
    rng = np.random.default_rng(0)
    a, b = torch.as_tensor(rng.uniform(0.5, 2, 50)), torch.as_tensor(rng.uniform(0.5, 2, 40))
    solved = sinkhorn.solve(
        x, y, a, b, eps=0.02, rho=1.0, tol=1e-8, max_iter=5000, block=5000,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    np.testing.assert_allclose(solved.entries.sum(0), b.numpy(), rtol=1e-6)
    np.testing.assert_allclose(solved.entries.sum(1), a.numpy() * np.exp(-solved.f), rtol=1e-5)


def test_newton_gains_digits_that_alternation_does_not():
    """From the same start: the ascent reaches 1e-9 in fewer products than 50 alternations take to reach 1e-2."""
    x, y = clouds(100, 100, 3)
    a = b = np.ones(100)
    eps, rho = 0.02, 5.0
    cost = torch.cdist(x, y).square().numpy()
    f, g = np.zeros(100), np.zeros(100)
    for k in range(50):
        g = -eps * np.log(np.exp((f[:, None] - cost) / eps).sum(0))
        row = np.exp((f[:, None] + g - cost) / eps).sum(1)
        if k == 0:
            start = f.copy(), g.copy()
        alternated = np.abs(np.exp(-f / rho) - row).sum() / 100
        f = -eps * rho / (rho + eps) * np.log(np.exp((g - cost) / eps).sum(1))
    f, g = start
    for _ in range(10):
        plan = np.exp((f[:, None] + g - cost) / eps)
        i, j = (torch.as_tensor(index, dtype=torch.int32) for index in np.indices(plan.shape).reshape(2, -1))
        matrix = Matrix.of(i, j, torch.as_tensor(plan.ravel()), plan.shape)
        f, _, done = newton.ascend(
            matrix,
            torch.as_tensor(f),
            torch.as_tensor(a),
            torch.as_tensor(b),
            eps=eps,
            rho=rho,
            tol=1e-10,
            max_iter=1000,
        )
        f = f.numpy()
        g = -eps * np.log(np.exp((f[:, None] - cost) / eps).sum(0))
        if done:
            break
    plan = np.exp((f[:, None] + g - cost) / eps)
    assert done
    assert np.abs(np.exp(-f / rho) - plan.sum(1)).sum() / 100 < 1e-9
    assert alternated > 1e-3
