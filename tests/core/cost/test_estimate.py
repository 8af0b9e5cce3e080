import pytest

from vgfm_sc.core.cost import estimate as cost

PACE = cost.Pace(call=1e-6, pair=1e-9, match_step=1e-3, integration=1e-5, distance=1e-9)
SIZES = cost.Sizes(
    couplings=[[cost.Problem(2, 100, 200), cost.Problem(1, 2000, 500)]],
    cells=[[100, 200, 5000]],
    n_dims=3,
    n_weights=1000,
    n_units=50,
    match_steps=700,
    match_size=64,
    fit_steps=20,
    fitted=150,
    judged=4000,
    block=500_000,
    coarse=1000,
)


def test_couplings_cost_their_pairs_and_large_ones_a_subsample_before():
    (small, large), overhead = cost.estimated(SIZES, PACE).couplings[0], cost.SOLVE_CALLS * 1e-6
    assert small == pytest.approx(2 * (overhead + cost.COARSE_PASSES * 100 * 200 * 1e-9))
    passes = cost.COARSE_PASSES * 1000 * 500 + cost.FULL_PASSES * 2000 * 500
    assert large == pytest.approx(overhead + passes * 1e-9)
    assert cost.estimated(SIZES, PACE).coupling == pytest.approx(small + large)


def test_a_step_of_fitting_simulates_and_compares_at_most_so_many_cells():
    steps = cost.RUNGE_KUTTA_STEPS * 100 * 2 * 1e-5
    fitted = steps + (100 * 150 * 2 + 2 * 100**2 + 2 * 150**2 / 3) * 1e-9
    judged = steps + (100 * 4200 + 2 * 100**2 + (200**2 + 4000**2) / 3) * 1e-9
    assert cost.estimated(SIZES, PACE).fitting == pytest.approx(20 * (fitted + cost.CHECKS * judged))


@pytest.mark.parametrize(
    ("change", "ratio"), [({"match_steps": 1400}, (2, 1)), ({"fit_steps": 60}, (1, 3)), ({"fit_steps": 0}, (1, 0))]
)
def test_stages_cost_their_steps(change, ratio):
    before, after = cost.estimated(SIZES, PACE), cost.estimated(SIZES._replace(**change), PACE)
    assert after.matching == pytest.approx(ratio[0] * before.matching)
    assert after.fitting == pytest.approx(ratio[1] * before.fitting)
    assert after.seconds == pytest.approx(after.coupling + after.matching + after.fitting)


@pytest.mark.parametrize(
    "change",
    [
        {"n_dims": 300},
        {"n_weights": 10_000},
        {"match_size": 640},
        {"cells": [[100, 400, 5000]], "fitted": 1000},
        {"couplings": [[cost.Problem(2, 100, 200), cost.Problem(2, 2000, 500)]]},
    ],
)
def test_more_of_anything_is_more_operations(change):
    assert cost.operations(SIZES._replace(**change)) > 1.02 * cost.operations(SIZES)


def test_memory_is_that_of_the_most_demanding_stage():
    idle = cost.estimated(SIZES._replace(fit_steps=0), PACE).memory
    assert cost.estimated(SIZES, PACE).memory > idle  # distances among 4,000 judged cells
    large = SIZES._replace(couplings=[[cost.Problem(1, 50_000, 50_000)]])
    assert cost.estimated(large, PACE).memory == cost.estimated(large._replace(fit_steps=0), PACE).memory > 1e9
