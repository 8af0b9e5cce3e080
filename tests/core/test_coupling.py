import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from vgfm_sc.core import coupling


def snapshots(seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((80, 3)) + 0.3
    return [torch.as_tensor(z, dtype=torch.float32) for z in (x, y)]


def run(function, **numbers):
    x, y = snapshots()
    return function(x, y, torch.ones(50), torch.ones(80), torch.Generator().manual_seed(0), **numbers)


def test_semi_relaxed_meets_the_target_and_lets_the_source_grow():
    solved = run(coupling.semi_relaxed, eps=0.01, rho=0.5, prior_rho=None)
    np.testing.assert_allclose(solved.plan.sum(axis=0), 1, rtol=1e-5)
    assert solved.row_mass.sum() == pytest.approx(80, rel=1e-5)
    assert solved.row_mass.std() > 0.01


def test_balanced_grows_all_cells_alike():
    solved = run(coupling.balanced, eps=0.01)
    np.testing.assert_allclose(solved.row_mass, 80 / 50, rtol=5e-3)
    np.testing.assert_allclose(solved.plan.sum(axis=0), 1, rtol=1e-5)
    assert np.abs(solved.row_mass - 80 / 50).sum() / 80 < coupling.MARGINAL_TOL


def test_growth_tends_to_uniform_as_rho_grows():
    spread = [
        run(coupling.semi_relaxed, eps=0.01, rho=rho, prior_rho=None).row_mass.std() for rho in (0.1, 1.0, 10.0, 100.0)
    ]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.05 * spread[0]


def test_row_mass_is_per_unit_of_mass_held():
    x, y = snapshots()
    mass = torch.linspace(0.5, 2, 50)
    solved = coupling.semi_relaxed(x, y, mass, torch.ones(80), torch.Generator(), eps=0.01, rho=1.0, prior_rho=None)
    np.testing.assert_allclose(solved.row_mass * mass.numpy(), solved.plan.sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize("wrap", [np.asarray, csr_matrix, torch.as_tensor])
def test_plans_of_any_kind_are_taken(wrap):
    plan = np.random.default_rng(0).random((4, 5))
    taken = coupling.as_coupling(wrap(plan), np.ones(4), 5)
    np.testing.assert_allclose(taken.plan.toarray(), plan)
    np.testing.assert_allclose(taken.row_mass, plan.sum(1))


@pytest.mark.parametrize(
    ("plan", "words"),
    [(np.ones((5, 4)), "shape"), (np.full((4, 5), np.nan), "missing"), (-np.ones((4, 5)), "negative")],
)
def test_plans_that_cannot_be_used_are_refused(plan, words):
    with pytest.raises(ValueError, match=words):
        coupling.as_coupling(plan, np.ones(4), 5)


def test_prior_finds_growth_that_a_large_rho_alone_hides():
    """Two clusters that stay; one doubles, one halves. Crossing is dear, yet cheaper than leaving uniform growth."""
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 0.2, (60, 2)), rng.normal(0, 0.2, (60, 2)) + [2.0, 0]
    later = np.concatenate([rng.normal(0, 0.2, (120, 2)), rng.normal(0, 0.2, (30, 2)) + [2.0, 0]])
    x0, x1 = (torch.as_tensor(x, dtype=torch.float32) for x in (np.concatenate([near, far]), later))

    def growth(prior_rho):
        masses = torch.ones(120), torch.ones(150)
        solved = coupling.semi_relaxed(
            x0, x1, *masses, torch.Generator().manual_seed(0), eps=0.005, rho=2.0, prior_rho=prior_rho
        )
        np.testing.assert_allclose(solved.plan.sum(axis=0), 1, rtol=1e-5)
        return solved.row_mass[:60].mean(), solved.row_mass[60:].mean()

    assert growth(0.1) == pytest.approx((2.0, 0.5), abs=0.05)
    assert growth(None)[1] > 0.8


def test_plans_of_a_user_are_checked_and_never_changed():
    mine = csr_matrix(np.array([[1.0, 0.0], [0.5, 0.5]]))
    mine.data[1] = 0.0
    stored = mine.nnz
    taken = coupling.as_coupling(mine, np.ones(2), 2)
    assert mine.nnz == stored and taken.plan.nnz < stored
    wrapped = coupling.Coupling(np.ones((2, 3)), np.ones(2), True, 0, 0.0)
    assert coupling.as_coupling(wrapped, np.ones(2), 3).plan.format == "csr"
    with pytest.raises(ValueError, match="shape"):
        coupling.as_coupling(wrapped, np.ones(2), 2)
