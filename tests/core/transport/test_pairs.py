"""Against the formulas written out over the dense cost."""

import numpy as np
import pytest
import torch

from vgfm_sc.core.transport.pairs import Pairs

N, M, D = 30, 40, 3


def draw(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, D, generator=generator, dtype=torch.float64) for n in (N, M))
    a, b = (0.5 + torch.rand(n, generator=generator, dtype=torch.float64) for n in (N, M))
    f, g = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (N, M))
    return x, y + 0.5, a, b, f, g


def dense(x, y):
    return (x[:, None] - y).square().sum(2)


def dense_plan(pairs, f, g, eps):
    log_mass = (f[:, None] + g - dense(pairs.x, pairs.y)) / eps
    return pairs.a[:, None] * pairs.b * log_mass.exp()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# less than a row, a row, some rows of which the last block has fewer, everything
blocks = pytest.mark.parametrize("block", [1, M, 7 * M + 1, 10**6])


@blocks
def test_costs_are_squared_distances_whatever_the_block(block):
    x, y, a, b, _, _ = draw()
    rows, costs = zip(*Pairs(x, y, a, b, block)._blocks(), strict=True)
    assert [row for part in rows for row in range(N)[part]] == list(range(N))
    torch.testing.assert_close(torch.cat(costs), dense(x, y), rtol=0, atol=1e-12)
    assert max(cost.numel() for cost in costs) <= max(block, M)


def test_costs_are_exact_far_from_the_origin():
    """At 1e6 coordinates are rounded to 1e-10; their squares would lose 1e-4."""
    x, y, a, b, _, _ = draw()
    costs = torch.cat([cost for _, cost in Pairs(x + 1e6, y + 1e6, a, b, 100)._blocks()])
    torch.testing.assert_close(costs, dense(x, y), rtol=0, atol=1e-8)


def test_costs_are_never_negative():
    """Of a cell to itself, what rounding leaves of squares that cancel is as often below zero as above."""
    x = 1e3 * torch.randn(N, 50, generator=generator(), dtype=torch.float64)
    ones = torch.ones(N, dtype=torch.float64)
    costs = torch.cat([cost for _, cost in Pairs(x, x, ones, ones, 10**6)._blocks()])
    assert (costs >= 0).all()
    assert costs.diagonal().max() < 1e-6  # of squares of 5e7


def test_mean_cost_is_the_mean_over_all_pairs():
    x, y, a, b, _, _ = draw()
    assert Pairs(x, y, a, b, 100).mean_cost() == pytest.approx(float(dense(x, y).mean()), rel=1e-12)


@blocks
@pytest.mark.parametrize("eps", [1.0, 0.002])
@pytest.mark.parametrize("rho", [0.1, 5.0, np.inf])
def test_source_potential_is_its_formula(block, eps, rho):
    x, y, a, b, _, g = draw()
    factor = eps if np.isinf(rho) else eps * rho / (eps + rho)
    want = -factor * torch.logsumexp((g - dense(x, y)) / eps + b.log(), 1)
    torch.testing.assert_close(Pairs(x, y, a, b, block).source_potential(g, eps, rho), want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("rho", [0.1, 5.0, np.inf])
def test_source_potential_gives_rows_what_their_price_asks_for(rho):
    x, y, a, b, _, g = draw()
    pairs = Pairs(x, y, a, b, 100)
    f = pairs.source_potential(g, 0.3, rho)
    torch.testing.assert_close(dense_plan(pairs, f, g, 0.3).sum(1), a * torch.exp(-f / rho), rtol=1e-10, atol=0)


@blocks
@pytest.mark.parametrize("eps", [1.0, 0.002])
def test_target_potential_is_its_formula(block, eps):
    """At the small eps no exponential of a cost is within the limits of float64."""
    x, y, a, b, f, _ = draw()
    want = -eps * torch.logsumexp(((f + a.log() * eps)[:, None] - dense(x, y)) / eps, 0)
    torch.testing.assert_close(Pairs(x, y, a, b, block).target_potential(f, eps), want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("eps", [1.0, 0.002])
def test_target_potential_makes_the_columns_exact(eps):
    x, y, a, b, f, _ = draw()
    pairs = Pairs(x, y, a, b, 100)
    g = pairs.target_potential(f, eps)
    # exponents of up to 1e4 carry an error of 1e-12
    torch.testing.assert_close(dense_plan(pairs, f, g, eps).sum(0), b, rtol=1e-10, atol=0)


@blocks
@pytest.mark.parametrize("share", [1e-9, 1e-3, 0.05, 0.5])
def test_entries_are_the_pairs_above_the_share_of_their_row_or_column(block, share):
    x, y, a, b, f, _ = draw()
    pairs = Pairs(x, y, a, b, block)
    eps = 0.2
    g = pairs.target_potential(f, eps)
    plan = dense_plan(pairs, f, g, eps)
    kept = (plan > share * plan.sum(1, keepdim=True)) | (plan > share * b)
    assert 0 < kept.sum() < N * M
    support, mass, row = pairs.entries(f, g, eps, share)
    assert support.shape == (N, M)
    assert torch.equal(torch.stack([support.rows, support.columns], 1).long(), kept.nonzero())
    torch.testing.assert_close(mass, plan[kept], rtol=1e-10, atol=0)
    torch.testing.assert_close(support.cost, dense(x, y)[kept], rtol=0, atol=1e-11)
    torch.testing.assert_close(row, plan.sum(1), rtol=1e-10, atol=0)  # over all pairs, whatever is kept


def test_either_of_row_and_column_is_enough_to_be_kept():
    """A poor row's largest pair is nothing to its column, and the other way round."""
    x, y = torch.tensor([[0.0], [3.0]]).double(), torch.tensor([[0.0], [0.1]]).double()
    pairs = Pairs(x, y, torch.ones(2).double(), torch.tensor([1.0, 1e-3]).double(), 100)
    f = torch.zeros(2).double()
    support, mass, row = pairs.entries(f, pairs.target_potential(f, 1.0), 1.0, 0.01)
    assert mass[support.rows == 1].max() < 0.01 * 1e-1  # kept for its row alone
    assert mass[(support.rows == 0) & (support.columns == 1)] < 0.01 * row[0]  # kept for its column alone


def test_a_source_too_far_for_float64_gets_nothing_and_disturbs_nothing():
    x, y, a, b, f, _ = draw()
    x[4] += 1e3
    pairs, without = Pairs(x, y, a, b, 100), torch.arange(N) != 4
    g = pairs.target_potential(f, 0.2)
    support, mass, row = pairs.entries(f, g, 0.2, 1e-9)
    assert row[4] == 0
    assert not (support.rows == 4).any()
    assert len(row) == N
    torch.testing.assert_close(
        g, Pairs(x[without], y, a[without], b, 100).target_potential(f[without], 0.2), rtol=0, atol=1e-8
    )
    torch.testing.assert_close(torch.zeros_like(b).index_add_(0, support.columns, mass), b, rtol=1e-6, atol=0)


@pytest.mark.parametrize("block", [1, 10**6])
def test_a_target_too_far_for_float64_is_served_in_full(block):
    x, y, a, b, f, _ = draw()
    y[7] += 1e3
    pairs = Pairs(x, y, a, b, block)
    g = pairs.target_potential(f, 0.2)
    support, mass, _ = pairs.entries(f, g, 0.2, 1e-9)
    assert torch.isfinite(g).all()
    # costs of 3e6 are known to 1e-9, in exponents to 1e-8
    torch.testing.assert_close(mass[support.columns == 7].sum(), b[7], rtol=1e-6, atol=0)


def test_a_source_too_far_for_float64_has_a_potential():
    x, y, a, b, _, g = draw()
    x[4] += 1e3
    f = Pairs(x, y, a, b, 100).source_potential(g, 0.2, np.inf)
    nearest = dense(x, y)[4] - g
    assert float(nearest.min()) > 1000 * 0.2
    assert f[4] == pytest.approx(-0.2 * float(torch.logsumexp(-nearest / 0.2 + b.log(), 0)), rel=1e-12)


def test_subsample_keeps_the_totals_and_the_ratios_of_masses():
    x, y, a, b, _, _ = draw()
    pairs = Pairs(x, y, a, b, 100)
    some = pairs.subsample(12, generator())
    assert some.shape == (12, 12)
    for points, mass, all_points, all_mass in ((some.x, some.a, pairs.x, a), (some.y, some.b, pairs.y, b)):
        assert float(mass.sum()) == pytest.approx(float(all_mass.sum()), rel=1e-12)
        away = (all_points - (points + some.centre)[:, None]).abs().sum(2)
        at = away.argmin(1)
        assert away.amin(1).max() < 1e-12
        assert len(at.unique()) == 12
        raised = mass / all_mass[at]
        torch.testing.assert_close(raised, raised[:1].expand(12), rtol=1e-12, atol=0)


def test_subsample_keeps_the_distances():
    x, y, a, b, _, _ = draw()
    some = Pairs(x, y, a, b, 100).subsample(12, generator())
    of = dense(x, y)
    costs = torch.cat([cost for _, cost in some._blocks()])
    assert all(float((of - cost).abs().min()) < 1e-12 for cost in costs.flatten())
    torch.testing.assert_close(costs, dense(some.x, some.y), rtol=0, atol=1e-12)


def test_subsample_larger_than_one_side_takes_all_of_it():
    x, y, a, b, _, _ = draw()
    some = Pairs(x, y, a, b, 100).subsample(35, generator())
    assert some.shape == (N, 35)
    torch.testing.assert_close(some.a.sort().values, a.sort().values, rtol=1e-12, atol=0)


def test_subsample_depends_on_its_generator_alone(same_random_state):
    x, y, a, b, _, _ = draw()
    pairs = Pairs(x, y, a, b, 100)
    first, same, other = (pairs.subsample(12, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.x, same.x)
    assert torch.equal(first.y, same.y)
    assert not torch.equal(first.x, other.x)
    assert not torch.equal(first.y, other.y)
