"""Against dense inverses, on plans whose diagonal says next to nothing about the solution."""

import numpy as np
import pytest
import torch

from vgfm_sc.core import laplacians
from vgfm_sc.core.laplacians import System, Systems
from vgfm_sc.core.transport.support import Matrix


def groups(n, m, leak, chance, seed=0):
    """A plan of three groups that exchange a share ``leak`` of their mass, with factors of rows and columns."""
    rng = np.random.default_rng(seed)
    plan = rng.uniform(0.5, 1.5, (n, m)) * (rng.random((n, m)) < chance)
    plan[np.arange(max(n, m)) % n, np.arange(max(n, m)) % m] = 1
    plan[(np.arange(n) % 3)[:, None] != np.arange(m) % 3] *= leak
    u, v = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, m)
    i, j = np.nonzero(plan)
    rows, columns = (torch.as_tensor(k, dtype=torch.int32) for k in (i, j))
    matrix = Matrix.of(rows, columns, torch.as_tensor(plan[i, j]), plan.shape)
    dense = torch.as_tensor(u[:, None] * plan * v)
    return matrix, torch.as_tensor(u), torch.as_tensor(v), dense


def system_of(n, m, leak=1e-7, chance=1.0, slack=1e-6):
    matrix, u, v, p = groups(n, m, leak, chance)
    source, target = p.sum(1) * (1 + slack), p.sum(0)
    inverse = torch.linalg.inv(torch.diag(source) - (p / target) @ p.T)
    return System(*matrix, u, v, source, target), inverse


@pytest.mark.parametrize("shape", [(40, 55), (55, 40)])
@pytest.mark.parametrize("chance", [1.0, 0.02])
def test_the_solution_is_that_of_the_dense_matrix(shape, chance):
    system, inverse = system_of(*shape, chance=chance)
    rhs = torch.randn(shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, products = Systems().solve(system, rhs, 1e-9, 200)
    want = inverse @ rhs
    assert float((found - want).abs().max()) < 1e-4 * float(want.abs().max())
    assert products < 2 * 200


@pytest.mark.parametrize("shape", [(40, 55), (55, 40)])
@pytest.mark.parametrize("block", [7, 1024])
def test_the_whole_plan_is_inverted_a_block_of_rows_at_a_time(shape, block, monkeypatch):
    monkeypatch.setattr(laplacians, "BLOCK_ROWS", block)
    system, inverse = system_of(*shape, slack=1e-3)
    rhs = torch.randn(shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(laplacians._whole(system)(rhs), inverse @ rhs, rtol=1e-5, atol=1e-5)


def test_a_plan_that_is_a_forest_is_inverted_by_its_strongest_entries():
    system, inverse = system_of(60, 60, chance=0.0, slack=1e-3)
    rhs = torch.randn(60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(laplacians._strongest(system)(rhs), inverse @ rhs, rtol=1e-5, atol=1e-5)


def test_the_forest_spans_all_groups_with_the_largest_entries():
    rows, columns = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2])
    kept = laplacians._forest(rows, columns, np.array([4.0, 1e-9, 2.0, 3.0, 5.0]), (3, 3))
    assert sorted(kept) == [0, 2, 3, 4]


def test_the_diagonal_is_given_up_once(monkeypatch):
    """Groups that hardly exchange mass: the second system is not tried by the diagonal."""
    monkeypatch.setattr(laplacians, "EASY", 2)
    system, _ = system_of(70, 60)
    rhs = torch.randn(70, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solver = Systems()
    first, second = solver.solve(system, rhs, 1e-3, 200)[1], solver.solve(system, rhs, 1e-3, 200)[1]
    assert 0 < second == first - 2 * 2 - 2  # two iterations, and the residual of what they found
    assert solver.solved == 2


def test_balanced_systems_have_no_inverse_and_a_solution():
    """Rows and columns add up: a common shift changes nothing. The right-hand side adds up to nothing."""
    matrix, u, v, p = groups(40, 50, 1e-3, 1.0)
    rhs = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rhs -= rhs.mean()
    found, _ = Systems().solve(System(*matrix, u, v, p.sum(1), p.sum(0)), rhs, 1e-10, 200)
    image = p.sum(1) * found - p @ ((p.T @ found) / p.sum(0))
    torch.testing.assert_close(image, rhs, rtol=0, atol=1e-6)
