"""Changes of genes on flows with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading import perturbation
from vgfm_sc.core.reading.effects import Effects
from vgfm_sc.core.reading.perturbation import Change, Ends, Group, Trial

SCALING = Scaling(np.array([1.0, 2.0, 0.0]), 2.0, 0.5, 1.0)
TILTED = SCALING._replace(axes=np.linalg.qr(np.random.default_rng(0).normal(size=(3, 2)))[0].T)


class Known(torch.nn.Module):
    """The second axis follows the first, away from 0 to either side, and growth is the first."""

    density = None
    low, high = torch.full((2,), -torch.inf), torch.full((2,), torch.inf)

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def score(self, t, x):
        """Density is even."""
        return torch.zeros_like(x)

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


def trial(held=False, noise=0.0) -> Trial:
    return Trial([0.0, 0.5, 1.0], ENDS, held, noise, 1e-6, 0)


def compared(made: Change, held: bool) -> tuple[Group, Effects]:
    cells = group()
    return cells, perturbation.perturbed([cells], perturbation.baseline([cells], trial()), made, trial(held))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_no_change_has_no_effect(noise):
    """With noise, too: both take the same steps."""
    cells, how = group(), trial(noise=noise)
    found = perturbation.perturbed([cells], perturbation.baseline([cells], how), change([1, 0], scale=[1.0]), how)
    np.testing.assert_array_equal(found.values, 0)
    np.testing.assert_array_equal(found.mass[:, 1], found.mass[:, 0])


@pytest.mark.parametrize("held", [True, False])
def test_a_known_effect_is_found(held):
    """Cells set to -1 all go down; held they shrink at the rate 1, else a little less as they rise by .1."""
    cells, found = compared(change([1, 0], shift=[-1.0]), held)
    up = cells.counts[:, cells.x[:, 0] > 0].sum(axis=1)
    total = up * np.exp(1.05) + (40 - up) * np.exp(-0.95)  # .1 / 2 of the rise on top
    rate = -1.0 if held else -0.95
    np.testing.assert_allclose(found.mass[:, 0, -1], total / 40, rtol=1e-5)
    np.testing.assert_allclose(found.mass[:, 1, -1], np.exp(rate), rtol=1e-5)
    np.testing.assert_array_equal(found.mass[:, :, 0], 1)
    half, up_share = 0.5 / 40, up * np.exp(1.05) / total
    np.testing.assert_allclose(found.shares[:, 0, 0], (up_share + half) / (1 + 2 * half), rtol=1e-5)
    np.testing.assert_allclose(found.shares[:, 1, 0], half / (1 + 2 * half), rtol=1e-6)
    values = found.values
    np.testing.assert_allclose(values[:, 0], np.log(half / (up_share + half)), rtol=1e-4)
    np.testing.assert_allclose(values[:, 2], rate - np.log(total / 40), rtol=1e-4)
    assert (found.energy > 1).all() and (found.energy == values[:, 3]).all()
    np.testing.assert_allclose(found.levels[0, :2].sum(), 1)
    np.testing.assert_allclose(found.levels[:, 2], found.mass[:, :, -1].mean(axis=0))


@pytest.mark.parametrize("held", [True, False])
def test_with_noise_both_take_the_same_steps(held):
    x, made = group().x, change([1, 0], shift=[1.5])
    x = x[x[:, 0] > 0]  # none comes to the other side
    one, other = perturbation.courses(MODEL, x, made, trial(held, noise=0.2))
    apart = other.positions - one.positions
    assert np.std(one.positions[-1, :, 0]) > 0.1  # noise there is
    np.testing.assert_allclose(apart[:, :, 1], 0, atol=1e-5)  # across the change all is the same
    if held:
        np.testing.assert_allclose(other.positions[:, :, 0], np.broadcast_to(1.5, other.mass.shape), atol=1e-6)
    else:
        np.testing.assert_allclose(other.positions[0, :, 0], 1.5, atol=1e-6)
        steps = np.diff(apart[:, :, 0], axis=0)
        np.testing.assert_allclose(steps, 0, atol=1e-5)


def test_held_directions_stay_and_the_others_move():
    cells = group()
    _, there = perturbation.courses(MODEL, cells.x, change([1, 0], scale=[1.0]), trial(held=True))
    np.testing.assert_allclose(there.positions[-1, :, 0], cells.x[:, 0], atol=1e-6)
    np.testing.assert_allclose(np.abs(there.positions[-1, :, 1]), 3, atol=0.1)


def test_points_among_cells_are_inside_and_others_outside():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) + SCALING.centre
    found = perturbation.outside(np.vstack([x[:50], x[:50] + [50.0, 0, 0]]), x, SCALING, 0)
    assert not found[:50].any() and found[50:].all()
    assert perturbation.outside(rng.normal(size=(200, 3)) + SCALING.centre, x, SCALING, 0).mean() < 0.05
