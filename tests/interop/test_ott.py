"""Our semi-relaxed plans against those of OTT-JAX, in float64."""

from __future__ import annotations

import warnings

import numpy as np
import ot
import pytest
import torch

from vgfm_sc import tl
from vgfm_sc.core.transport import sinkhorn
from vgfm_sc.core.transport.pairs import Pairs

jax = pytest.importorskip("jax")
pytest.importorskip("ott")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def clouds(n, m, d=4, apart=0.5):
    rng = np.random.default_rng(0)
    unit = np.sqrt(2 * d)
    x, y = rng.standard_normal((n, d)) / unit, (apart + rng.standard_normal((m, d))) / unit
    return x, y, rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, m)


def ours(x, y, a, b, eps, rho):
    x, y, a, b = map(torch.as_tensor, (x, y, a, b))
    draw = torch.Generator().manual_seed(0)
    plan = sinkhorn.solve(Pairs(x, y, a, b, 5000), eps=eps, rho=rho, tol=1e-9, max_iter=20_000, generator=draw)
    assert plan.converged
    return plan.entries.toarray()


def theirs(x, y, a, b, eps, rho):
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    tau = rho / (rho + eps)
    with jax.enable_x64(True):
        # their entropy is relative to equal masses, ours to a: their penalty on a then has to make up for it
        problem = LinearProblem(Geometry(cost(x, y), epsilon=eps), a ** (1 / tau), b, tau_a=tau, tau_b=1.0)
        return np.asarray(Sinkhorn(threshold=1e-10, max_iterations=200_000)(problem).matrix)


def cost(x, y):
    return ((x[:, None] - y) ** 2).sum(axis=2)


@pytest.mark.parametrize(("n", "m"), [(60, 80), (300, 40)])
@pytest.mark.parametrize("rho", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("eps", [1.0, 0.05, 0.01])
def test_plans_agree(eps, rho, n, m):
    problem = *clouds(n, m), eps, rho
    np.testing.assert_allclose(ours(*problem), theirs(*problem), atol=1e-8)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_plans_agree_whatever_the_unit(scale):
    x, y, a, b = clouds(60, 80)
    problem = scale * x, scale * y, a, b, scale**2 * 0.01, scale**2 * 1.0
    np.testing.assert_allclose(ours(*problem), theirs(*problem), atol=1e-8)


def test_plans_agree_where_the_plain_kernel_underflows():
    """Half of the cells are so far from all others that exp(-cost / eps) is 0: POT warns and returns something else."""
    x, y, a, b = clouds(60, 80)
    x[30:] += 3
    eps, rho = 0.003, 1.0
    assert (cost(x, y)[30:].min(axis=1) / eps > 750).any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = ot.unbalanced.sinkhorn_unbalanced(a, b, cost(x, y), eps, (rho, np.inf), reg_type="kl")
    plan = ours(x, y, a, b, eps, rho)
    np.testing.assert_allclose(plan, theirs(x, y, a, b, eps, rho), atol=1e-8)
    assert not np.allclose(plan, plain, atol=1e-3)


def test_recipe_fits_with_their_solver(branched, recipe, monkeypatch):
    fit = tl.fit
    few = {"match_steps": 2, "fit_steps": 0, "width": 16, "depth": 2, "progress": False}
    monkeypatch.setattr(tl, "fit", lambda *args, **named: fit(*args, **few, **named))
    adata = recipe("OTT", adata=branched.copy())["adata"]
    assert adata.uns["vgfm"]["params"]["method"] == "ott"
    # columns sum to the mass of the target cells: what their last iteration leaves of it
    reached = adata.obsp["vgfm_coupling"].sum(axis=0).A1[adata.obs["day"] > 0]
    np.testing.assert_allclose(reached, 1, atol=0.02)
