"""Against dense arrays in which the pairs that are left out have a cost of infinity, and no mass."""

import numpy as np
import pytest
import torch

from vgfm_sc.core.transport import support as answers
from vgfm_sc.core.transport.support import LOWEST, NOTHING, TINY, AllPairs, Support

N, M, EPS = 9, 12, 0.3


def draw(seed=0, chance=0.4):
    """A random cost and pairs; the first, a middle and the last row have none, nor has a column."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(N, M, generator=generator, dtype=torch.float64)
    mask = torch.rand(N, M, generator=generator) < chance
    mask[[0, 4, N - 1]] = False
    mask[:, 5] = False
    return cost, mask


def support_of(cost, mask):
    return Support(mask.sum(1), mask.nonzero()[:, 1].int(), cost[mask], tuple(mask.shape))


def potentials(seed=0):
    generator = torch.Generator().manual_seed(seed)
    f, g = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (N, M))
    a, b = (0.5 + torch.rand(n, generator=generator, dtype=torch.float64) for n in (N, M))
    return f, g, a, b


def only(values, mask, fill):
    return torch.where(mask, values, torch.full_like(values, fill))


def test_rows_repeat_each_source_for_its_pairs():
    cost, mask = draw()
    assert torch.equal(support_of(cost, mask).rows.long(), mask.nonzero()[:, 0])


@pytest.mark.parametrize("swapped", [False, True])
def test_joined_is_the_union_sorted_by_row(swapped):
    cost, first = draw(0)
    _, second = draw(1)
    assert (first & second).any()
    assert (first & ~second).any()
    assert (second & ~first).any()
    parts = (second, first) if swapped else (first, second)
    joined = support_of(cost, parts[0]).joined(support_of(cost, parts[1]))
    both = first | second
    assert joined.shape == (N, M)
    assert torch.equal(torch.stack([joined.rows, joined.columns], 1).long(), both.nonzero())
    assert torch.equal(joined.cost, cost[both])


def test_joined_with_nothing_is_what_it_was():
    cost, mask = draw()
    nothing = support_of(cost, torch.zeros_like(mask))
    for joined in (support_of(cost, mask).joined(nothing), nothing.joined(support_of(cost, mask))):
        assert torch.equal(torch.stack([joined.rows, joined.columns], 1).long(), mask.nonzero())
        assert torch.equal(joined.cost, cost[mask])


def test_joined_pairs_multiply_as_the_union():
    """What the solver does with it: the type of the indices is that of the parts."""
    cost, first = draw(0)
    _, second = draw(1)
    part = support_of(cost, first)
    joined = part.joined(support_of(cost, second))
    assert (joined.rows.dtype, joined.columns.dtype) == (part.rows.dtype, part.columns.dtype)
    z = torch.rand(M, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(joined.matrix(joined.cost).plan @ z, only(cost, first | second, 0.0) @ z)


def test_keys_of_pairs_do_not_overflow():
    """100,000 by 100,000 pairs are more than an int32 can number."""
    size = 100_000
    counts = torch.zeros(size, dtype=torch.int64)
    counts[-1] = 1
    last = Support(counts, torch.tensor([size - 1], dtype=torch.int32), torch.tensor([2.0]).double(), (size, size))
    joined = last.joined(last)
    assert (joined.rows.tolist(), joined.columns.tolist(), joined.cost.tolist()) == ([size - 1], [size - 1], [2.0])


@pytest.mark.parametrize("eps", [EPS, 0.001])
def test_target_potential_is_that_of_the_dense_plan(eps):
    cost, mask = draw()
    f, _, a, b = potentials()
    z = only((f[:, None] - cost) / eps + a.log()[:, None], mask, -torch.inf)
    want = -eps * torch.logsumexp(z, 0)
    found = support_of(cost, mask).target_potential(f, a, b, eps)
    assert torch.equal(torch.isfinite(found), mask.any(0))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eps", [EPS, 0.001])
def test_target_potential_makes_columns_exact(eps):
    cost, mask = draw()
    f, _, a, b = potentials()
    support = support_of(cost, mask)
    mass = support.log_mass(f, support.target_potential(f, a, b, eps), a, b, eps).exp()
    # exponents of up to 1e3 carry an error of 1e-13
    np.testing.assert_allclose(support.csr(mass).sum(0), torch.where(mask.any(0), b, 0.0), rtol=1e-11)


def test_log_mass_is_that_of_the_dense_plan():
    cost, mask = draw()
    f, g, a, b = potentials()
    want = (f[:, None] + g - cost) / EPS + a.log()[:, None] + b.log()
    torch.testing.assert_close(support_of(cost, mask).log_mass(f, g, a, b, EPS), want[mask], rtol=1e-12, atol=1e-12)


def test_log_mass_is_known_where_mass_underflows():
    cost, mask = draw()
    f, g, a, b = potentials()
    found = support_of(cost + 1e3, mask).log_mass(f, g, a, b, EPS)
    assert (found.exp() == 0).all()
    torch.testing.assert_close(found, support_of(cost, mask).log_mass(f, g, a, b, EPS) - 1e3 / EPS, rtol=0, atol=1e-9)


def test_nothing_given_is_changed():
    """The work is done in place."""
    cost, mask = draw()
    given = potentials()
    before = [values.clone() for values in (*given, cost)]
    support = support_of(cost, mask)
    f, g, a, b = given
    support.target_potential(f, a, b, EPS)
    support.matrix(support.log_mass(f, g, a, b, EPS).exp_())
    assert all(torch.equal(values, was) for values, was in zip((*given, cost), before, strict=True))
    assert torch.equal(support.cost, cost[mask])


@pytest.mark.parametrize("chance", [0.0, 0.4, 1.0])
def test_products_are_those_of_the_dense_plan(chance):
    """Rows and columns without any pair have products of zero."""
    cost, mask = draw(chance=chance)
    full = only(cost, mask, 0.0)
    matrix = support_of(cost, mask).matrix(cost[mask])
    generator = torch.Generator().manual_seed(0)
    right, left = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (M, N))
    torch.testing.assert_close(matrix.plan @ right, full @ right, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(matrix.transpose @ left, full.T @ left, rtol=1e-12, atol=1e-12)


def test_columns_of_a_row_need_no_order():
    """Only the rows are said to be sorted."""
    cost, mask = draw()
    reverse = torch.cat([row.nonzero()[:, 0].flip(0) for row in mask]).int()
    rows = mask.nonzero()[:, 0]
    support = Support(mask.sum(1), reverse, cost[rows, reverse.long()], (N, M))
    matrix = support.matrix(support.cost)
    full = only(cost, mask, 0.0)
    torch.testing.assert_close(matrix.plan.to_dense(), full)
    torch.testing.assert_close(matrix.transpose.to_dense(), full.T)


@pytest.mark.parametrize("chance", [0.0, 0.4, 1.0])
def test_csr_is_the_dense_plan(chance):
    cost, mask = draw(chance=chance)
    found = support_of(cost, mask).csr(cost[mask])
    assert found.nnz == mask.sum()
    np.testing.assert_array_equal(found.toarray(), only(cost, mask, 0.0))
    found.check_format()


@pytest.mark.parametrize("eps", [EPS, 0.001])
@pytest.mark.parametrize("rho", [0.1, 5.0, np.inf])
def test_source_potential_is_that_of_the_dense_plan(eps, rho):
    """A source without pairs keeps the one it had."""
    cost, mask = draw()
    f, g, _, b = potentials()
    z = only((g - cost) / eps + b.log(), mask, -torch.inf)
    factor = eps if np.isinf(rho) else eps * rho / (eps + rho)
    want = torch.where(mask.any(1), -factor * torch.logsumexp(z, 1), f)
    found = support_of(cost, mask).source_potential(f, g, b, eps, rho)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eps", [EPS, 0.001])
def test_all_pairs_answer_as_a_support_that_holds_them_all(eps):
    cost, _ = draw()
    f, g, a, b = potentials()
    every, support = AllPairs(cost), support_of(cost, torch.ones(N, M, dtype=torch.bool))
    for rho in (np.inf, 0.7):
        found, want = (pairs.target_potential(f, a, b, eps, rho) for pairs in (every, support))
        torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
        found, want = (pairs.source_potential(f, g, b, eps, rho) for pairs in (every, support))
        torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    log_mass = support.log_mass(f, g, a, b, eps).view(N, M)
    torch.testing.assert_close(every.log_mass(f, g, a, b, eps), log_mass.clamp(min=LOWEST), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("fast", [True, False])
def test_exponentials_are_those_of_torch_but_for_numbers_too_small(monkeypatch, fast):
    monkeypatch.setattr(answers, "AVX512", fast)
    z = torch.tensor([[0.0, -1.5, 3.0], [-699.0, -800.0, -torch.inf], [800.0, torch.inf, torch.nan]]).double()
    want = z.clamp(min=LOWEST).exp()
    found = answers.exp_(z)
    assert found is z
    torch.testing.assert_close(found, want, rtol=1e-14, atol=0.0, equal_nan=True)
    assert (found[1, 1:] < NOTHING).all() and (found[1, 1:] > 0).all()


def test_mass_that_is_next_to_none_is_none():
    mass = torch.tensor([[1.0, 1e-250], [TINY / 2, 1e-100]], dtype=torch.float64)
    plan, transpose = AllPairs(mass.clone()).matrix(mass)
    want = torch.tensor([[1.0, 0.0], [0.0, 1e-100]], dtype=torch.float64)
    assert torch.equal(plan, want) and torch.equal(transpose, want.T)
