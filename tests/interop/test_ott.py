"""Our semi-relaxed plans against those of OTT-JAX, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vgfm_sc.core import sinkhorn

jax = pytest.importorskip("jax")
pytest.importorskip("ott")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def clouds(n, m, d=4, apart=0.5):
    rng = np.random.default_rng(0)
    unit = np.sqrt(2 * d)
    return rng.standard_normal((n, d)) / unit, (apart + rng.standard_normal((m, d))) / unit


def ours(x, y, a, b, eps, rho):
    x, y, a, b = map(torch.as_tensor, (x, y, a, b))
    draw = torch.Generator().manual_seed(0)
    plan = sinkhorn.solve(x, y, a, b, eps=eps, rho=rho, tol=1e-9, max_iter=20_000, block=5000, generator=draw)
    assert plan.converged
    return plan.entries.toarray()


def theirs(x, y, a, b, eps, rho):
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    cost = ((x[:, None] - y) ** 2).sum(axis=2)
    with jax.enable_x64(True):
        problem = LinearProblem(Geometry(cost, epsilon=eps), a, b, tau_a=rho / (rho + eps), tau_b=1.0)
        return np.asarray(Sinkhorn(threshold=1e-10, max_iterations=200_000)(problem).matrix)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("n", "m"), [(60, 80), (300, 40)])
@pytest.mark.parametrize("rho", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("eps", [1.0, 0.05, 0.003])
def test_plans_agree(eps, rho, n, m, scale):
    x, y = clouds(n, m)
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, m)
    problem = scale * x, scale * y, a, b, scale**2 * eps, scale**2 * rho
    np.testing.assert_allclose(ours(*problem), theirs(*problem), atol=1e-7)
