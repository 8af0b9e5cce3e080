"""Changes of genes on flows with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist

from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading import perturbation
from vgfm_sc.core.reading.perturbation import Change, Ends, Group, Run

SCALING = Scaling(np.array([1.0, 2.0, 0.0]), 2.0, 0.5, 1.0)
TILTED = SCALING._replace(axes=np.linalg.qr(np.random.default_rng(0).normal(size=(3, 2)))[0].T)


class Known(torch.nn.Module):
    """The second axis follows the first, away from 0 to either side, and growth is the first."""

    density = None

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def individual(self, t, x):
        """Velocity and growth."""
        v = torch.zeros_like(x)
        v[:, 0], v[:, 1] = 0.1, 3 * torch.sign(x[:, 0])
        return v, x[:, 0]

    def common_growth(self, times):
        """None."""
        return torch.zeros(len(times), dtype=torch.float64)


MODEL = Model(Known(), Scaling(np.zeros(2), 1.0, 0.5, 1.0))
ENDS = Ends(np.repeat([[0.0, 3.0], [0.0, -3.0]], 40, axis=0), np.repeat(np.eye(2), 40, axis=0))
"""Many, so that those of the other side are no neighbours."""


def change(weights, level=None, scale=None, shift=None) -> Change:
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    given = [np.zeros(len(weights)) if v is None else np.asarray(v, dtype=float) for v in (level, scale, shift)]
    return Change(weights, *given)


@pytest.mark.parametrize("scaling", [SCALING, TILTED], ids=["all axes", "some axes"])
@pytest.mark.parametrize("q", [1, 2])
def test_the_nearest_position_meets_all_constraints(scaling, q):
    rng = np.random.default_rng(1)
    weights, x = rng.normal(size=(q, scaling.n_axes)), rng.normal(size=(6, 3))
    made = change(weights, rng.normal(size=q), rng.normal(size=q), rng.normal(size=q))
    moved = made.made(x, scaling)
    np.testing.assert_allclose(made.values(moved, scaling), made.scale * made.values(x, scaling) + made.shift)
    step = perturbation.along(moved, scaling) - perturbation.along(x, scaling)
    across = step - (step @ made.directions.T) @ made.directions
    np.testing.assert_allclose(across, 0, atol=1e-12)  # no longer than it must be
    if q == 1 and scaling is SCALING:
        w, now = weights[0], made.values(x, scaling)
        np.testing.assert_allclose(moved, x - (now - made.wanted(now)) * w / (w @ w))


def test_directions_are_orthonormal_and_hold_the_weights():
    made = change(np.random.default_rng(0).normal(size=(2, 5)))
    np.testing.assert_allclose(made.directions @ made.directions.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose((made.weights @ made.directions.T) @ made.directions, made.weights, atol=1e-12)


def group(n=40, r=6, seed=0) -> Group:
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.where(np.arange(n) % 4, 1.0, -1.0), rng.normal(0, 0.01, n)])
    return Group(MODEL, x, rng.multinomial(n, np.full(n, 1 / n), size=r).astype(float))


def compared(made: Change, held: bool):
    cells = group()
    before = perturbation.follow(cells, [0.0, 0.5, 1.0], ENDS, held=None, tol=1e-6, seed=0)
    return (
        cells,
        before,
        perturbation.perturbed([cells], [before], made, [0.0, 0.5, 1.0], ENDS, held=held, tol=1e-6, seed=0),
    )


def test_no_change_has_no_effect():
    _, _, found = compared(change([1, 0], scale=[1.0]), held=False)
    for name in ("fates", "mass", "energy"):
        np.testing.assert_array_equal(getattr(found, name), 0)


@pytest.mark.parametrize("held", [True, False])
def test_a_known_effect_is_found(held):
    """Cells set to -1 all go down; held they shrink at the rate 1, else a little less as they rise by .1."""
    cells, before, found = compared(change([1, 0], shift=[-1.0]), held)
    up = cells.counts[:, cells.x[:, 0] > 0].sum(axis=1)
    np.testing.assert_allclose(
        before.mass[-1], np.exp(np.where(cells.x[:, 0] > 0, 1.05, -0.95)), rtol=1e-5
    )  # (0.1)^2/2 of the rise on top
    total = up * np.exp(1.05) + (40 - up) * np.exp(-0.95)
    rate = -1.0 if held else -0.95
    np.testing.assert_allclose(found.mass[:, -1], rate - np.log(total / 40), rtol=1e-4)
    np.testing.assert_array_equal(found.mass[:, 0], 0)
    share, half = up * np.exp(1.05) / total, 0.5 / 40
    np.testing.assert_allclose(found.shares[:, 0], half / (1 + 2 * half), rtol=1e-6)
    np.testing.assert_allclose(found.fates[:, 0], np.log(half / (share + half)), rtol=1e-4)
    assert (found.energy > 1).all()


def test_held_directions_stay_and_the_others_move():
    cells = group()
    run = perturbation.follow(cells, [0.0, 1.0], ENDS, held=np.array([[1.0, 0.0]]), tol=1e-6, seed=0)
    np.testing.assert_allclose(run.ends[:, 0], cells.x[:, 0], atol=1e-6)
    np.testing.assert_allclose(np.abs(run.ends[:, 1]), 3, atol=0.1)


def test_energy_leaves_out_the_changed_direction_and_pairs_of_one_cell():
    rng = np.random.default_rng(0)
    x, counts = rng.normal(size=(5, 2)), np.array([[2.0, 1.0, 0.0, 1.0, 1.0]])
    mass = rng.gamma(2.0, size=5)
    shares, inside = np.full((5, 2), 0.5), np.zeros(5, dtype=bool)
    before, moved = Run(np.stack([mass]), x, shares, inside), x + np.array([7.0, 0.0])
    only = perturbation.effects(before, before._replace(ends=moved), counts, np.array([[1.0, 0.0]]))
    assert only.energy == pytest.approx(0, abs=1e-12)
    both = perturbation.effects(before, before._replace(ends=moved + [0.0, 0.5]), counts, np.array([[1.0, 0.0]]))
    w = counts[0] * mass
    pairs = np.outer(w, w) * (1 - np.eye(5))
    y, z = x[:, 1:], x[:, 1:] + 0.5
    by_hand = [(pairs * cdist(a, b)).sum() / pairs.sum() for a, b in ((y, z), (y, y), (z, z))]
    np.testing.assert_allclose(both.energy, 2 * by_hand[0] - by_hand[1] - by_hand[2])


def test_points_among_cells_are_inside_and_others_outside():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) + SCALING.centre
    found = perturbation.outside(np.vstack([x[:50], x[:50] + [50.0, 0, 0]]), x, SCALING, 0)
    assert not found[:50].any() and found[50:].all()
    assert perturbation.outside(rng.normal(size=(200, 3)) + SCALING.centre, x, SCALING, 0).mean() < 0.05


def test_the_test_is_that_of_students_t_where_cells_are_many():
    values = np.random.default_rng(0).normal(0.5, 1, size=(8, 3))
    found, wanted = perturbation.tested(values, 0.0), stats.ttest_1samp(values, 0)
    np.testing.assert_allclose(found.t, wanted.statistic)
    np.testing.assert_allclose(found.pvals, wanted.pvalue)
    reach = wanted.confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [reach.low, reach.high])


@pytest.mark.parametrize(("pool", "n"), [(100, 50), (60, 200)])
def test_intervals_cover_the_truth_of_the_population_that_cells_are_from(pool, n):
    """Mean of a normal population from ``pool`` cells, by 10 draws of ``n`` of them."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(2000):
        cells = rng.normal(size=pool)
        found = perturbation.tested(rng.choice(cells, (10, n)).mean(axis=1, keepdims=True), n / pool)
        covered.append(found.low[0] < 0 < found.high[0])
    assert 0.935 < np.mean(covered) < 0.965


def test_what_never_changes_is_sure_and_nothing_is_no_effect():
    found = perturbation.tested(np.repeat([[0.0, 2.0]], 5, axis=0), 1.0)
    np.testing.assert_array_equal(found.pvals, [1, 0])
    np.testing.assert_array_equal(found.t, [0, np.inf])
