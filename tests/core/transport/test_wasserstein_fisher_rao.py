"""Wasserstein-Fisher-Rao couplings: against closed forms, the conditions of optimality, and POT in its safe range."""

from functools import partial

import numpy as np
import ot
import pytest
import torch

from vgfm_sc.core.coupling import as_coupling
from vgfm_sc.core.transport import entropic, parts, sinkhorn
from vgfm_sc.core.transport.pairs import Pairs, fisher_rao

UNIT = 6**0.5
"""Root mean squared distance of two cells in three dimensions."""


def snapshots(n=50, m=80):
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((n, 3)), rng.standard_normal((m, 3)) + 0.3
    return [*map(torch.as_tensor, cells), *(torch.as_tensor(rng.uniform(0.5, 2, size)) for size in (n, m))]


def coupled(x0, x1, mass0, mass1, delta=0.5, eps=0.01):
    generator = torch.Generator().manual_seed(0)
    found = entropic.wasserstein_fisher_rao(x0, x1, mass0, mass1, generator, delta=delta, eps=eps)
    assert found.converged
    return as_coupling(found, mass0.numpy(), mass1.numpy())


def solve(x, y, a, b, delta, eps, **changed):
    pairs = Pairs(x, y, a, b, 700, price=partial(fisher_rao, delta=delta, beyond=100 * eps))
    settings = {"rho": 4 * delta**2, "target_rho": 4 * delta**2, "tol": 1e-9, "max_iter": 20_000} | changed
    return sinkhorn.solve(pairs, eps=eps, generator=torch.Generator().manual_seed(0), **settings)


def distance(gamma0, gamma1, apart, delta):
    """What two semi-couplings cost: the squared distances of Diracs, added up."""
    cosine = np.cos(np.minimum(apart / (2 * delta), np.pi / 2))
    return 4 * delta**2 * (gamma0 + gamma1 - 2 * np.sqrt(gamma0 * gamma1) * cosine).sum()


def semi_couplings(coupling):
    """What leaves and what arrives, dense."""
    growth = coupling.early_growth[:, None] + coupling.late_growth
    return coupling.plan.toarray() * np.exp(-growth), coupling.plan.toarray()


@pytest.mark.parametrize(("apart", "delta"), [(0.0, 0.5), (0.3, 0.5), (1.5, 0.5), (1.0, 5.0)])
@pytest.mark.parametrize("masses", [(1.0, 1.0), (2.0, 0.1)])
def test_two_diracs_cost_what_the_closed_form_says(apart, delta, masses):
    """The entropy-transport problem, at what it finds best to exchange, is the squared distance of the cone."""
    a, b = (torch.tensor([mass]).double() for mass in masses)
    x = torch.zeros(1, 1).double()
    solved = solve(x, x + apart, a, b, delta, 1e-6)
    mass, (m0, m1) = solved.entries.toarray()[0, 0], masses
    cosine, price = np.cos(apart / (2 * delta)), 4 * delta**2
    assert mass == pytest.approx(np.sqrt(m0 * m1) * cosine, rel=1e-4)
    cost = -2 * price * np.log(cosine) * mass
    cost += sum(price * (mass * np.log(mass / m) - mass + m) for m in masses)
    assert cost == pytest.approx(price * (m0 + m1 - 2 * np.sqrt(m0 * m1) * cosine), abs=1e-6)


def test_cost_tends_to_the_squared_distance_and_has_no_end_within_reach():
    squared = torch.linspace(0, 2.4, 50).double()
    torch.testing.assert_close(fisher_rao(squared.clone(), 1e5, 1.0), squared)
    found = fisher_rao(squared.clone(), 0.5, 3.0)
    assert (found.diff() > 0).all() and torch.isfinite(found).all()
    torch.testing.assert_close(found, -2 * torch.log(torch.cos(squared.sqrt())))
    beyond = fisher_rao(torch.tensor([2.47, 9.0]).double(), 0.5, 3.0)
    assert (beyond == beyond[0]).all() and beyond[0] > found.max() + 3


@pytest.mark.parametrize(("delta", "eps"), [(0.4, 0.05), (0.5, 0.02), (2.0, 0.05)])
def test_agrees_with_pot_in_its_safe_range(delta, eps):
    x, y, a, b = snapshots(60, 80)
    x, y = x / UNIT, y / UNIT
    angle = np.minimum(torch.cdist(x, y).numpy() / (2 * delta), np.pi / 2)
    cost = np.where(angle < 1.57, -8 * delta**2 * np.log(np.cos(angle)), 1e3)
    penalties = {"reg_m": 4 * delta**2, "reg_type": "kl", "numItermax": 100_000, "stopThr": 1e-13}
    reference = ot.unbalanced.sinkhorn_unbalanced(a.numpy(), b.numpy(), cost, reg=eps, **penalties)
    solved = solve(x, y, a, b, delta, eps)
    assert solved.converged
    np.testing.assert_allclose(solved.entries.toarray(), reference, atol=1e-7)


@pytest.mark.parametrize("coarse", [30, 1000])
@pytest.mark.parametrize("eps", [0.1, 0.002, 0.0003])
@pytest.mark.parametrize("rho", [0.05, 1.0, np.inf])
@pytest.mark.parametrize("target_rho", [0.05, 1.0, 1e4])
def test_soft_marginals_are_those_of_the_potentials(monkeypatch, coarse, eps, rho, target_rho):
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    x, y, a, b = snapshots(60, 50)
    solved = solve(x / UNIT, y / UNIT, a, b, 0.7, eps, rho=rho, target_rho=target_rho, tol=1e-6)
    assert solved.converged
    row, column = solved.entries.sum(axis=1), solved.entries.sum(axis=0)
    np.testing.assert_allclose(row, a.numpy() * np.exp(-solved.f / rho), atol=1e-4)
    np.testing.assert_allclose(column, b.numpy() * np.exp(-solved.g / target_rho), rtol=1e-5)


def test_semi_couplings_have_the_masses_of_the_cells_and_growth_is_separable():
    x0, x1, mass0, mass1 = snapshots()
    found = coupled(x0, x1, mass0, mass1)
    leaves, arrives = semi_couplings(found)
    np.testing.assert_allclose(leaves.sum(axis=1), mass0, rtol=1e-6)
    np.testing.assert_allclose(arrives.sum(axis=0), mass1, rtol=1e-6)
    whole = float((mass0.sum() * mass1.sum()).sqrt())
    solved = solve(x0 / UNIT, x1 / UNIT, mass0 / whole, mass1 / whole, 0.5, 0.01)
    np.testing.assert_allclose(found.early_growth, -solved.f, atol=2e-3)  # the penalty is 1
    np.testing.assert_allclose(found.late_growth, solved.g, atol=2e-3)


@pytest.mark.parametrize("delta", [0.4, 0.5, 2.0])
def test_semi_couplings_cost_what_the_dual_is_worth(delta):
    """Without entropy both are the squared distance of the snapshots; no semi-coupling may be worth less."""
    x0, x1, mass0, mass1 = snapshots()
    apart = torch.cdist(x0, x1).numpy() / UNIT
    cost = distance(*semi_couplings(coupled(x0, x1, mass0, mass1, delta, 1e-4)), apart, delta)
    solved = solve(x0 / UNIT, x1 / UNIT, mass0, mass1, delta, 1e-4, tol=1e-6)
    price = 4 * delta**2
    dual = -price * sum(
        mass.numpy() @ np.expm1(-potential / price) for mass, potential in ((mass0, solved.f), (mass1, solved.g))
    )
    assert cost == pytest.approx(dual, rel=5e-3)


def test_there_is_no_direction_of_time_and_no_unit_of_mass():
    x0, x1, mass0, mass1 = snapshots()
    found, back = coupled(x0, x1, mass0, mass1), coupled(x1, x0, mass1, mass0)
    more = coupled(x0, x1, 7 * mass0, 7 * mass1)
    for one, other in zip(semi_couplings(found), reversed(semi_couplings(back)), strict=True):
        np.testing.assert_allclose(one, other.T, atol=1e-3)
    np.testing.assert_allclose(found.early_growth, -back.late_growth, atol=1e-3)
    np.testing.assert_allclose(more.plan.toarray(), 7 * found.plan.toarray(), atol=1e-3)
    np.testing.assert_allclose(more.early_growth, found.early_growth, atol=1e-3)


def test_growth_tends_to_uniform_as_delta_grows():
    spread = [np.log(coupled(*snapshots(), delta=delta).row_mass).std() for delta in (0.4, 1.0, 3.0, 30.0)]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 1e-3


def test_pairs_beyond_reach_exchange_nothing():
    """Two clusters apart: what each loses or gains it does in place."""
    x0, x1, mass0, mass1 = snapshots(60, 60)
    x0[30:, 0] += 20
    x1[20:, 0] += 20
    found = coupled(x0, x1, 0 * mass0 + 1, 0 * mass1 + 1, delta=1.0)
    assert torch.cdist(x0, x1).numpy()[found.plan.nonzero()].max() < np.pi * UNIT
    np.testing.assert_allclose([part.mean() for part in np.split(found.row_mass, 2)], [2 / 3, 4 / 3], rtol=1e-6)


def test_delta_that_leaves_cells_alone_is_refused_with_one_that_does_not():
    x0, x1, mass0, mass1 = snapshots()
    x0[:2] += 10
    with pytest.raises(ValueError, match=r"delta=0\.5 is too small: 2 of 50 earlier and 0 of 80 later") as caught:
        coupled(x0, x1, mass0, mass1)
    least = float(str(caught.value).split("above ")[1].split(",")[0])
    coupled(x0, x1, mass0, mass1, delta=1.01 * least)
    with pytest.raises(ValueError, match="too small: [12] of"):
        coupled(x0, x1, mass0, mass1, delta=0.98 * least)


def test_parts_give_the_growth_that_the_whole_gives(monkeypatch):
    x0, x1, mass0, mass1 = snapshots(400, 600)
    x0, x1 = x0[:, :2].contiguous(), x1[:, :2].contiguous()
    whole = coupled(x0, x1, mass0, mass1)
    monkeypatch.setitem(entropic.MOST_PAIRS, "cpu", 60_000)
    monkeypatch.setattr(entropic, "MOST_ENTRIES", 4000)
    monkeypatch.setattr(parts, "FEWEST_CELLS", 1)
    cut = coupled(x0, x1, mass0, mass1)
    assert cut.n_parts == 2 * parts.REDRAWS
    leaves, arrives = semi_couplings(cut)
    np.testing.assert_allclose(leaves.sum(axis=1), mass0, rtol=1e-6)
    np.testing.assert_allclose(arrives.sum(axis=0), mass1, rtol=1e-6)
    assert np.corrcoef(cut.early_growth, whole.early_growth)[0, 1] > 0.95
    assert np.corrcoef(cut.late_growth, whole.late_growth)[0, 1] > 0.95
