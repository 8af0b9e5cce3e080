import numpy as np
import pytest
import torch

from vgfm_sc.core.coupling import as_coupling
from vgfm_sc.core.transport import entropic


def snapshots(seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((80, 3)) + 0.3
    return [torch.as_tensor(z, dtype=torch.float32) for z in (x, y)]


def run(function, **numbers):
    x, y = snapshots()
    return function(x, y, torch.ones(50), torch.ones(80), torch.Generator().manual_seed(0), **numbers)


def test_semi_relaxed_meets_the_target_and_lets_the_source_grow():
    solved = run(entropic.semi_relaxed, eps=0.01, rho=0.5, drift_rho=None)
    np.testing.assert_allclose(solved.plan.sum(axis=0), 1, rtol=1e-5)
    assert solved.row_mass.sum() == pytest.approx(80, rel=1e-5)
    assert solved.row_mass.std() > 0.01


def test_balanced_grows_all_cells_alike():
    solved = run(entropic.balanced, eps=0.01)
    np.testing.assert_allclose(solved.row_mass, 80 / 50, rtol=5e-3)
    np.testing.assert_allclose(solved.plan.sum(axis=0), 1, rtol=1e-5)
    assert np.abs(solved.row_mass - 80 / 50).sum() / 80 < entropic.MARGINAL_TOL


def test_growth_tends_to_uniform_as_rho_grows():
    spread = [
        run(entropic.semi_relaxed, eps=0.01, rho=rho, drift_rho=None).row_mass.std() for rho in (0.1, 1.0, 10.0, 100.0)
    ]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.05 * spread[0]


def test_row_mass_is_per_unit_of_mass_held():
    x, y = snapshots()
    mass = torch.linspace(0.5, 2, 50)
    solved = entropic.semi_relaxed(x, y, mass, torch.ones(80), torch.Generator(), eps=0.01, rho=1.0, drift_rho=None)
    np.testing.assert_allclose(solved.row_mass * mass.numpy(), solved.plan.sum(axis=1), rtol=1e-6)


def test_expected_masses_have_the_ratios_of_growth_and_the_total_that_is_held():
    mass, log_growth = np.linspace(0.5, 2, 5), np.array([0.0, 1, -2, 500, 499])
    found = entropic.expected(mass, log_growth)
    assert found.sum() == pytest.approx(mass.sum())
    np.testing.assert_allclose(found[3] / found[4], mass[3] / mass[4] * np.e)
    np.testing.assert_allclose(found[1] / found[2], mass[1] / mass[2] * np.e**3)
    np.testing.assert_array_equal(entropic.expected(mass, np.full(5, 7.3)), mass)


def grown(log_growth, rho, eps=0.01, drift_rho=None):
    """Row masses per unit held when ``log_growth`` is expected of the 50 cells, each of mass 1."""
    x, y = snapshots()
    masses = [torch.as_tensor(entropic.expected(np.ones(50), log_growth)), torch.ones(80)]
    generator = torch.Generator().manual_seed(0)
    solved = entropic.semi_relaxed(x, y, *masses, generator, eps=eps, rho=rho, drift_rho=drift_rho)
    assert solved.converged
    return as_coupling(solved, np.ones(50), np.ones(80)).row_mass


def test_a_prior_is_followed_where_rho_is_large_and_overruled_where_it_is_small():
    prior = np.random.default_rng(1).normal(0, 1, 50)
    rhos = (1e4, 10.0, 1.0, 0.1, 0.01, 0.001)
    np.testing.assert_allclose(np.log(grown(prior, 1e4)), np.log(entropic.expected(np.full(50, 1.6), prior)), atol=1e-2)
    followed = [np.corrcoef(np.log(grown(prior, rho)), prior)[0, 1] for rho in rhos]
    assert followed == sorted(followed, reverse=True)
    moved = [np.abs(grown(prior, rho, eps=1e-3) - grown(0 * prior, rho, eps=1e-3)).sum() / 80 for rho in rhos]
    assert moved == sorted(moved, reverse=True) and moved[0] > 0.5 and moved[-1] < 0.05


@pytest.mark.parametrize("drift_rho", [None, 0.2])
def test_a_factor_common_to_all_sources_changes_nothing(drift_rho):
    prior = np.random.default_rng(1).normal(0, 1, 50)
    one, other = grown(prior, 0.5, drift_rho=drift_rho), grown(prior + 3, 0.5, drift_rho=drift_rho)
    np.testing.assert_allclose(other, one, rtol=1e-4)
    x, y = snapshots()
    settings = {"eps": 0.01, "rho": 0.5, "drift_rho": drift_rho}
    scaled = entropic.semi_relaxed(x, y, torch.full((50,), 20.0), torch.ones(80), torch.Generator(), **settings)
    plain = run(entropic.semi_relaxed, **settings)
    np.testing.assert_allclose(scaled.plan.toarray(), plain.plan.toarray(), rtol=1e-3, atol=1e-6)


def test_expectations_far_apart_can_be_solved():
    """One cell is expected to leave e^40 times as many descendants as another."""
    prior = np.linspace(-20, 20, 50)
    row_mass = grown(prior, 0.5)
    assert np.isfinite(row_mass).all() and (row_mass > 0).all()
    assert row_mass.sum() == pytest.approx(80, rel=1e-4)


def test_row_mass_is_per_unit_held_and_not_per_unit_expected():
    x, y = snapshots()
    held, given = np.full(50, 2.0), entropic.expected(np.full(50, 2.0), np.linspace(0, 1, 50))
    numbers = {"eps": 0.01, "rho": 0.5, "drift_rho": None}
    solved = entropic.semi_relaxed(x, y, torch.as_tensor(given), torch.ones(80), torch.Generator(), **numbers)
    taken = as_coupling(solved, held, np.ones(80))
    np.testing.assert_allclose(taken.row_mass, solved.plan.sum(axis=1) / 2)
    np.testing.assert_allclose(as_coupling(solved.plan, held, np.ones(80)).row_mass, taken.row_mass)


def test_drift_finds_growth_that_cells_where_they_stand_hide():
    """One branch moves on by its own length and does not multiply; beside it another stays and doubles."""
    rng = np.random.default_rng(0)

    def strip(n, start, y):
        return np.column_stack([rng.uniform(start, start + 2, n), rng.normal(y, 0.1, n)])

    x0 = np.concatenate([strip(100, 0, 0), strip(100, 0, 3)])
    x1 = np.concatenate([strip(100, 2, 0), strip(200, 0, 3)])
    cells = np.concatenate([x0, x1])
    length = np.sqrt(cells.var(axis=0).mean())
    x0, x1 = (torch.as_tensor((x - cells.mean(axis=0)) / length, dtype=torch.float32) for x in (x0, x1))
    moving, staying = slice(0, 100), slice(100, 200)
    truth = np.log(np.repeat([1.0, 2.0], 100))

    def growth(drift_rho):
        masses = torch.ones(200), torch.ones(300)
        solved = entropic.semi_relaxed(
            x0, x1, *masses, torch.Generator().manual_seed(0), eps=0.002, rho=0.5, drift_rho=drift_rho
        )
        np.testing.assert_allclose(solved.plan.sum(axis=0), 1, rtol=1e-5)
        return np.log(solved.row_mass)

    standing, drifting = growth(None), growth(0.2)
    assert standing[moving].std() > 0.5  # the front seems to multiply and the back to die
    assert drifting[moving].std() < 0.3 * standing[moving].std()
    assert drifting[staying].std() < standing[staying].std()
    assert np.abs(drifting - truth).mean() < 0.3 * np.abs(standing - truth).mean()
    assert (drifting[moving].mean(), drifting[staying].mean()) == pytest.approx((0, np.log(2)), abs=0.05)


def test_drift_says_how_both_plans_were_solved(monkeypatch):
    solved = iter([(False, 7, 0.3), (True, 5, 1e-5)])
    real = entropic._solved

    def told(*args, **numbers):
        converged, n_iter, error = next(solved)
        return real(*args, **numbers)._replace(converged=converged, n_iter=n_iter, marginal_error=error)

    monkeypatch.setattr(entropic, "_solved", told)
    both = run(entropic.semi_relaxed, eps=0.01, rho=0.5, drift_rho=0.2)
    assert (both.converged, both.n_iter, both.marginal_error) == (False, 12, 0.3)


@pytest.mark.parametrize("rho", [0.3, 1e4])
def test_a_bridged_plan_is_that_of_the_density_of_brownian_motion(rho):
    """For the cost |x - y|^2 the penalty is twice the variance over the interval."""
    ot = pytest.importorskip("ot")
    x, y = snapshots()
    spread, unit = 0.8, 2 * x.shape[1]
    cost = ot.dist(x.double().numpy(), y.double().numpy())
    a, b = np.ones(50), np.full(80, 50 / 80)
    if rho > 1:
        wanted = ot.sinkhorn(a, b, cost, 2 * spread**2, stopThr=1e-12)
    else:
        penalties = (rho * unit, np.inf)
        wanted = ot.unbalanced.sinkhorn_unbalanced(
            a, b, cost, 2 * spread**2, penalties, reg_type="kl", numItermax=10_000, stopThr=1e-12
        )
    masses = [torch.as_tensor(part) for part in (a, b)]
    found = entropic.bridged(x, y, *masses, torch.Generator(), spread=spread, rho=rho)
    assert found.converged
    assert np.abs(found.plan.toarray() - wanted).sum() < 2e-3 * wanted.sum()
