"""What a coupling function may return."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, csr_matrix

from vgfm_sc.core.coupling import CONTRACT_TOL, Coupling, as_coupling

MASS1 = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
PLAN = (lambda plan: plan * (MASS1 / plan.sum(axis=0)))(np.random.default_rng(0).uniform(0.2, 1, (4, 5)))


@pytest.mark.parametrize("wrap", [np.asarray, csr_matrix, torch.as_tensor])
def test_plans_of_any_kind_are_taken(wrap):
    taken = as_coupling(wrap(PLAN), np.full(4, 2.0), MASS1)
    np.testing.assert_allclose(taken.plan.toarray(), PLAN)
    np.testing.assert_allclose(taken.row_mass, PLAN.sum(1) / 2)


def test_a_plan_without_a_report_has_not_converged():
    taken = as_coupling(PLAN, np.ones(4), MASS1)
    assert taken.converged is False and taken.solved is False
    assert taken.marginal_error == pytest.approx(0, abs=1e-12)
    report = Coupling(csr_array(PLAN), np.ones(4), True, 7, 1e-5)
    assert as_coupling(report, np.ones(4), MASS1).convergence() == report.convergence()


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (np.ones((5, 4)), r"shape \(5, 4\); \(n, m\) = \(4, 5\)"),
        (np.full((4, 5), np.nan), "missing"),
        (-np.ones((4, 5)), "negative"),
        (PLAN / PLAN.sum(), r"total mass 1; the target cells hold 7.5.*common factor.*mass1.sum\(\) / plan.sum\(\)"),
        (0.5 * PLAN, r"total mass 3.75.*common factor"),
        (PLAN * [1, 1, 0, 1, 1], "1 of 5 target cells without ancestors .*the first is column 2"),
        (PLAN * [[1], [0], [0], [1]], "2 of 4 source cells without descendants .*the first is row 1"),
        (PLAN * [1, 1, 1, 1, 1.1], r"miss that by 0.04 of the total.*column 4, which sums to 3.3 where mass1 is 3\."),
        (PLAN / PLAN.sum(0), r"total mass 5; .*return plan \* \(mass1 / plan.sum\(0\)\)"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_plans_that_break_the_contract_are_refused(plan, words, wrapped):
    given = Coupling(csr_array(plan), np.ones(4), True, 0, 0.0) if wrapped else plan
    with pytest.raises(ValueError, match=words):
        as_coupling(given, np.ones(4), MASS1)


def test_what_the_errors_suggest_mends_the_plan():
    off = PLAN / PLAN.sum()
    as_coupling(off * (MASS1.sum() / off.sum()), np.ones(4), MASS1)
    off = PLAN / PLAN.sum(0)
    as_coupling(off * (MASS1 / off.sum(0)), np.ones(4), MASS1)


@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.1, False)])
def test_columns_may_miss_their_mass_by_a_thousandth_of_the_total(share, passes):
    off = PLAN.copy()
    off[:, 4] *= 1 + share * CONTRACT_TOL * MASS1.sum() / MASS1[4]
    if passes:
        assert as_coupling(off, np.ones(4), MASS1).marginal_error == pytest.approx(share * CONTRACT_TOL)
    else:
        with pytest.raises(ValueError, match="column 4"):
            as_coupling(off, np.ones(4), MASS1)


def test_plans_of_a_user_are_never_changed():
    mine = csr_matrix(np.array([[1.0, 0.0], [0.5, 0.5]]))
    mine.data[1] = 0.0
    stored = mine.nnz
    taken = as_coupling(mine, np.ones(2), np.array([1.0, 0.5]))
    assert mine.nnz == stored and taken.plan.nnz < stored
    wrapped = Coupling(PLAN, np.ones(4), True, 0, 0.0)
    assert as_coupling(wrapped, np.ones(4), MASS1).plan.format == "csr"


def test_a_coupling_goes_to_arrays_and_back():
    coupling = Coupling(csr_array(PLAN), np.arange(1.0, 5.0), False, 12, 0.3, 4)
    again = Coupling.of_arrays(coupling.arrays())
    np.testing.assert_array_equal(again.plan.toarray(), PLAN)
    np.testing.assert_array_equal(again.mass0, coupling.mass0)
    assert again.convergence() == coupling.convergence()


def test_growth_is_that_of_both_ends():
    """What a source sends, it holds; what a target gets has grown by both."""
    log_growth = np.array([0.3, -0.2, 0.0, 1.0, 0.5])
    sent = PLAN / PLAN.sum(axis=1, keepdims=True)
    coupling = Coupling(csr_array(2 * PLAN), np.ones(4), True, 0, 0.0).grown(log_growth).grown(log_growth)
    np.testing.assert_allclose(coupling.plan.toarray(), 2 * PLAN * np.exp(2 * log_growth))
    np.testing.assert_allclose(coupling.late_growth, 2 * log_growth)
    grown = sent * np.exp(coupling.early_growth[:, None] + coupling.late_growth)
    np.testing.assert_allclose(grown, coupling.plan.toarray())
    np.testing.assert_allclose(coupling.row_mass, grown.sum(axis=1))
    again = Coupling.of_arrays(coupling.arrays())
    np.testing.assert_array_equal(again.late_growth, coupling.late_growth)


def test_means_over_descendants_and_ancestors():
    coupling = Coupling(csr_array(PLAN), np.ones(4), True, 0, 0.0)
    values = np.random.default_rng(1).standard_normal((5, 2))
    np.testing.assert_allclose(coupling.over_descendants(values), PLAN @ values / PLAN.sum(1)[:, None])
    np.testing.assert_allclose(coupling.over_ancestors(values[:4]), PLAN.T @ values[:4] / MASS1[:, None])
