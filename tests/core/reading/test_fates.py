from types import SimpleNamespace

import numpy as np
import pytest

from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading import fates, projection
from vgfm_sc.datasets import _branching


class Flow:
    """Leads cells to ``end`` of where they are; those on the right come to ``mass`` times what the others have."""

    scaling = Scaling(np.zeros(2), 1.0, 0.5, 1.0)

    def __init__(self, end, mass=4.0):
        self.end, self.mass = end, mass

    def simulate(self, x, times, *, tol):
        stays = times[1] == times[0]
        mass = np.where((x[:, 0] > 0) & (not stays), self.mass, 1.0)
        return np.stack([x, x if stays else self.end(x)]), np.stack([np.ones(len(x)), mass])


FORK = Flow(lambda x: np.where(x[:, :1] > 0, [5.0, 0.0], [-5.0, 0.0]))
FUNNEL = Flow(np.zeros_like)
ENDS = np.repeat([[5.0, 0.0], [-5.0, 0.0]], 3, axis=0)
"""Cells where the fork leads to; the first three are of label 0."""


def judged(x, labels=(0, 0, 0, 1, 1, 1), seed=0, n_labels=2):
    """Fates of cells ``x`` at the fork, followed by those of `ENDS`."""
    time = np.repeat([0.0, 1.0], [len(x), len(ENDS)])
    numbers = np.concatenate([np.full(len(x), -1), labels])
    found = fates.fates(FORK, np.concatenate([x, ENDS]), time, 1.0, numbers, tol=1e-4, seed=seed)
    assert found.shape == (len(time), n_labels)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    return found


def at_the_fork(n=5):
    """As many on the left as on the right, next to each other, and many cells far away on the left."""
    return np.concatenate([np.repeat([[1e-3, 0.0], [-1e-3, 0.0]], n, axis=0), np.tile([-1e4, 0.0], (20, 1))])


def test_descendants_count():
    """Half of the surroundings go right, where they become four times as many."""
    found = judged(at_the_fork())
    np.testing.assert_allclose(found[:10, 0], 4 / (4 + 1), rtol=1e-6)
    np.testing.assert_array_equal(found[10:30, 0], 0)


def test_ancestors_count_as_the_mass_they_arrive_with():
    """Six cells of the right and six of the left arrive at one place, one of either without a label."""
    x = np.concatenate([np.repeat([[1.0, 0.0], [-1.0, 0.0]], 6, axis=0), np.zeros((4, 2))])
    time = np.repeat([0.0, 1.0, 2.0], [12, 2, 2])
    labels = np.repeat([0, -1, 1, -1, -1], [5, 1, 5, 1, 4])
    found = fates.origins(FUNNEL, x, time, 0.0, labels, tol=1e-4, seed=0)
    np.testing.assert_allclose(found[12:, 0], 4 / (4 + 1), rtol=1e-6)
    np.testing.assert_allclose(found[:12, 0], np.repeat([1, 0], 6), atol=1e-6)


def test_a_place_that_only_dying_cells_reach_has_their_label():
    x = np.concatenate([np.repeat([[1.0, 0.0], [-1.0, 0.0]], 40, axis=0), [[-5.0, 0.0]]])
    time, labels = np.repeat([0.0, 1.0], [80, 1]), np.repeat([0, 1, -1], [40, 40, 1])
    found = fates.origins(Flow(FORK.end, 1e60), x, time, 0.0, labels, tol=1e-4, seed=0)
    np.testing.assert_array_equal(found[80], [0, 1])


def test_a_cell_alone_is_not_outvoted_by_far_ones():
    x = np.concatenate([[[50.0, 0.0]], np.column_stack([np.full(40, -50.0), np.linspace(0, 1e-2, 40)])])
    assert judged(x)[0, 0] > 0.999


def test_cells_of_the_target_have_their_label_or_the_shares_around_them():
    found = judged(at_the_fork(), labels=(0, 1, -1, 2, 2, -1), n_labels=3)[30:]
    wanted = [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_few_cells_and_cells_at_one_point():
    np.testing.assert_array_equal(judged(np.array([[1.0, 0.0]]))[0], [1, 0])
    np.testing.assert_array_equal(judged(np.array([[1.0, 0.0], [-1.0, 0.0]]))[:2], np.eye(2))
    np.testing.assert_array_equal(judged(np.tile([1.0, 0.0], (50, 1)))[:50, 0], 1)


def test_the_time_a_cell_is_from_bounds_its_surroundings():
    x = at_the_fork()[:10]
    time = np.concatenate([np.where(x[:, 0] > 0, 0.0, 0.5), np.ones(6)])
    found = fates.fates(FORK, np.concatenate([x, ENDS]), time, 1.0, np.repeat([-1, 0, 1], [10, 3, 3]), tol=1e-4, seed=0)
    np.testing.assert_array_equal(found[:10, 0], x[:, 0] > 0)


def test_means_are_of_what_is_near():
    rng = np.random.default_rng(0)
    x = rng.random((5000, 2)).astype(np.float32)
    values = np.column_stack([np.ones(5000), x[:, 0] + 2 * x[:, 1]])
    weight = rng.random(5000) + 0.5
    found = fates.over_surroundings(x, values, weight, 0)
    np.testing.assert_allclose(found[:, 0], 1, rtol=1e-12)
    reach = (fates.SURROUNDINGS / 5000 / np.pi) ** 0.5  # of a disc with so many cells
    assert np.abs(found[:, 1] - values[:, 1]).mean() < reach
    np.testing.assert_allclose(fates.over_surroundings(x, values, 1e-200 * weight, 0), found, rtol=1e-9)


@pytest.mark.parametrize("most", [40, 500])
def test_samples_and_blocks_bound_the_work_and_are_seeded(monkeypatch, most):
    monkeypatch.setattr(projection, "LANDMARKS", most)
    x = np.random.default_rng(0).standard_normal((200, 2))
    once = judged(x)
    np.testing.assert_array_equal(once, judged(x))
    assert (judged(x, seed=1) == once).all() == (most == 500)
    for module, name, value in ((fates, "BLOCK_CELLS", 7), (projection, "BLOCK_POINTS", 30)):
        monkeypatch.setattr(module, name, value)
        np.testing.assert_allclose(judged(x), once, rtol=1e-6, atol=1e-9)


class TrueFlow:
    """The dynamics of `datasets.branching` itself."""

    scaling = Scaling(np.zeros(4), 1.0, 1.5, 1.0)

    def simulate(self, x, times, *, tol):
        end, log_m = _branching._follow(x, times[1] - times[0])
        return np.stack([x, end]), np.exp([np.zeros(len(x)), log_m])


def branched(n=2000):
    """Cells of the branching process, drawn by the mass they have: states, times, and which go to fate a."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal((20 * n, 4)) * [0.15, 0.3, 0.5, 0.5]
    snapshots = []
    for t in (0.0, 1.5, 3.0):
        state, log_m = _branching._follow(start, t)
        mass = np.exp(log_m)
        snapshots.append(state[rng.choice(len(state), n, replace=False, p=mass / mass.sum())])
    x = np.concatenate(snapshots)
    return x, np.repeat([0.0, 1.5, 3.0], n), x[:, 1] > 0


def calibration_error(p, happened, weight):
    """Mean distance, over tenths of predicted probability, of its mean from the share that it happened to."""
    tenth = np.minimum((10 * p).astype(int), 9)
    return np.abs(np.bincount(tenth, weight * (p - happened))).sum() / weight.sum()


def test_with_the_true_flow_fates_are_true_and_calibrated_by_descendants():
    x, time, of_a = branched()
    labels = np.where(time == 3, ~of_a, -1)
    early = time < 3
    p = fates.fates(TrueFlow(), x, time, 3.0, labels, tol=1e-4, seed=0)[early, 0]
    mass = np.concatenate([np.exp(_branching._follow(x[time == t], 3 - t)[1]) for t in (0.0, 1.5)])
    assert ((p > 0.5) == of_a[early]).mean() > 0.97
    assert calibration_error(p, of_a[early], mass) < 0.02
    # one of the few cells of a surrounding that multiplies counts for several others
    assert p.mean() > of_a[early].mean()


def test_with_the_true_flow_origins_are_true_and_calibrated():
    x, time, of_a = branched()
    labels = np.where(time == 0, ~of_a, -1)
    late = time > 0
    p = fates.origins(TrueFlow(), x, time, 0.0, labels, tol=1e-4, seed=0)[late, 0]
    assert ((p > 0.5) == of_a[late]).mean() > 0.97
    assert calibration_error(p, of_a[late], np.ones(late.sum())) < 0.02


class Wandering(Flow):
    """As `Flow`, and by chance half of the runs start on the other side."""

    def at_random(self, x, seed):
        return x * np.random.default_rng(seed).choice([-1.0, 1.0], (len(x), 1))


@pytest.mark.parametrize(("descendants", "wanted"), [(True, 0.8), (False, 0.5)])
def test_runs_count_as_the_mass_they_reach_or_as_one(monkeypatch, descendants, wanted):
    fork = Wandering(FORK.end)
    asked = []

    def follow(model, x, times, *, noise, branching, step, seed):
        asked.append((len(x), noise, branching))
        positions, mass = fork.simulate(fork.at_random(x, seed), times, tol=0)
        return SimpleNamespace(positions=positions, mass=mass)

    monkeypatch.setattr(fates.chance, "follow", follow)
    x = np.concatenate([np.repeat([[1e-3, 0.0], [-1e-3, 0.0]], 5, axis=0), ENDS])
    time, numbers = np.repeat([0.0, 1.0], [10, 6]), np.repeat([-1, 0, 1], [10, 3, 3])
    found = fates.fates(
        fork, x, time, 1.0, numbers, tol=1e-4, seed=0, runs=fates.Runs(0.3, 400), descendants=descendants
    )
    assert asked == [(4000, 0.3, False)]
    np.testing.assert_allclose(found[:10, 0], wanted, atol=0.03)
    np.testing.assert_array_equal(found[10:], np.eye(2)[[0, 0, 0, 1, 1, 1]])
