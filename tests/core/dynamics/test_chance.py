"""Cells that wander, divide and die, against processes with known laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from vgfm_sc.core.dynamics import chance
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.scaling import Scaling

SURE = 4.0
"""Standard errors that a mean may be off: one in 16,000 by chance, and the seeds are fixed."""


class Known(nn.Module):
    """Takes the place of trained networks: velocity, growth and score given as functions of unitless ``(t, x)``."""

    def __init__(self, velocity, growth, common=0.0, score=None):
        super().__init__()
        self.velocity, self.growth, self.common = velocity, growth, common
        self.score = score or still
        self.unused = nn.Parameter(torch.zeros(1))
        self.low, self.high = torch.tensor(-torch.inf), torch.tensor(torch.inf)

    def individual(self, t, x):
        return self.velocity(t, x), self.growth(t, x)

    def common_growth(self, times):
        return self.common * (torch.as_tensor(times, dtype=torch.float64) - times[0])


def still(t, x):
    return torch.zeros_like(x)


def rate(value):
    return lambda t, x: torch.full_like(x[:, 0], value)


def run(
    velocity, growth, x, times, *, scaling=None, common=0.0, score=None, noise=0.0, divide=False, step=0.05, seed=0
):
    x = np.asarray(x, dtype=float)
    scaling = Scaling(np.zeros(x.shape[1]), 1.0, 0.0, 1.0) if scaling is None else scaling
    model = Model(Known(velocity, growth, common, score), scaling)
    return chance.follow(model, x, times, noise=noise, branching=divide, step=step, seed=seed)


def off(sample, mean, axis=0):
    """By how many standard errors the mean of ``sample`` misses ``mean``."""
    return np.abs(sample.mean(axis) - mean) / (sample.std(axis) / math.sqrt(sample.shape[axis]))


@pytest.mark.parametrize("log_growth", [-2.0, -0.1, 0.0, 0.01, 0.5, 3.0])
def test_offspring_has_the_mean_and_variance_of_a_pure_birth_or_death_process(log_growth):
    n = 200_000
    counts = chance.offspring(
        torch.full((n,), log_growth, dtype=torch.float64), torch.Generator().manual_seed(0)
    ).numpy()
    mean = math.exp(log_growth)
    variance = mean * (mean - 1) if log_growth > 0 else mean * (1 - mean)
    if log_growth == 0:
        assert (counts == 1).all()
        return
    assert off(counts, mean) < SURE
    assert off((counts - mean) ** 2, variance) < SURE


def test_noise_does_not_lead_out_of_the_box_of_the_data():
    """Where there are no data networks answer anything: here they carry off what comes near the edge."""
    scaling = Scaling(np.array([3.0, -1.0]), 2.5, 0.0, 1.0)
    networks = Known(lambda t, x: 100 * (x > 0.5), rate(0.0))
    networks.low, networks.high = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 2.0])
    paths = chance.follow(
        Model(networks, scaling),
        np.full((500, 2), [3.0, -1.0]),
        [0, 1, 2],
        noise=2.0,
        branching=False,
        step=0.05,
        seed=0,
    )
    reached = scaling.to_unitless(paths.positions[-1].astype(float))
    assert (reached.min(axis=0) >= [-1.001, -1.001]).all()
    np.testing.assert_allclose(reached.max(axis=0), [1, 2], atol=1e-3)


def test_pure_noise_is_brownian_motion_in_the_units_of_the_data():
    scaling = Scaling(np.array([3.0, -1.0, 0.5]), 2.5, 6.0, 4.0)
    n, noise, times = 20_000, 0.7, [2.0, 3.0, 8.0]
    paths = run(still, rate(0.0), np.ones((n, 3)), times, scaling=scaling, noise=noise)
    moved = np.diff(paths.positions.astype(float), axis=0)
    for increment, duration in zip(moved, np.diff(times), strict=True):
        assert (off(increment, 0.0) < SURE).all()
        assert (off(increment**2, noise**2 * duration) < SURE).all()
    products = np.concatenate([moved[0] * moved[1], moved[:, :, :1].prod(0), moved[1][:, :2].prod(1)[:, None]], axis=1)
    assert (off(products, 0.0) < SURE).all()  # increments and axes are independent
    assert (paths.mass == 1).all() and (paths.parent == -1).all()


def test_noise_moves_cells_along_the_axes_trained_on_and_not_across_them():
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 2)))[0].T
    scaling = Scaling(np.arange(5.0), 3.0, 0.0, 1.0, axes)
    paths = run(still, rate(0.0), np.zeros((20_000, 5)), [0.0, 1.0], scaling=scaling, noise=0.4)
    moved = paths.positions[1].astype(float)
    for direction in axes:
        assert off((moved @ direction) ** 2, 0.4**2) < SURE
    np.testing.assert_allclose(moved @ np.linalg.svd(axes)[2][2:].T, 0, atol=1e-6)


def test_without_noise_cells_stay_on_the_axes_trained_on():
    axes = np.eye(5)[:2]
    scaling = Scaling(np.arange(5.0), 3.0, 0.0, 1.0, axes)
    paths = run(lambda t, x: torch.ones_like(x), rate(1.0), np.zeros((50, 5)), [0.0, 1.0], scaling=scaling, divide=True)
    np.testing.assert_array_equal(paths.positions[1][:, 2:], 0)


def gathering(t, x):
    """The flow that draws a standard normal population together as exp(-t); of its score, see `of_gathering`."""
    return -x


def of_gathering(t, x):
    return -x * math.exp(2 * t)


@pytest.mark.parametrize("times", [[0.0, 0.4, 0.8], [0.8, 0.4, 0.0]], ids=["forward", "backward"])
@pytest.mark.parametrize("noise", [0.3, 1.5])
def test_with_the_score_any_noise_leaves_populations_as_they_are(noise, times):
    rng = np.random.default_rng(0)
    scaling = Scaling(np.array([2.0, -1.0]), 2.0, 0.0, 1.0)
    x = scaling.centre + 2.0 * math.exp(-times[0]) * rng.standard_normal((40_000, 2))
    paths = run(gathering, rate(0.0), x, times, score=of_gathering, noise=noise, scaling=scaling)
    for k, t in enumerate(times):
        from_centre = paths.positions[k].astype(float) - scaling.centre
        assert (off(from_centre, 0.0) < SURE).all()
        assert (np.abs((from_centre**2).mean(0) / (2 * math.exp(-t)) ** 2 - 1) < 0.02).all()
    moved = (paths.positions[1] - paths.positions[0]).std()
    calm = run(gathering, rate(0.0), x, times, scaling=scaling)
    assert moved > 1.02 * (calm.positions[1] - calm.positions[0]).std()  # single cells do wander


def test_with_the_score_of_the_mass_weighted_population_growth_stays_right():
    """Growth a x at rest turns a standard normal population into exp(a^2 t^2 / 2) times a normal one around a t."""
    a, times = 0.8, [0.0, 0.5, 1.0]
    x = np.random.default_rng(0).standard_normal((80_000, 1))
    paths = run(still, lambda t, x: a * x[:, 0], x, times, score=lambda t, x: a * t - x, noise=1.0)
    for k, t in enumerate(times[1:], start=1):
        mass, place = paths.mass[k].astype(float), paths.positions[k, :, 0].astype(float)
        assert off(mass, math.exp((a * t) ** 2 / 2)) < SURE
        assert off(mass * (place - a * t), 0.0) < SURE
        assert off(mass * ((place - a * t) ** 2 - 1), 0.0) < SURE


def test_a_steep_score_takes_short_steps_and_too_steep_a_one_is_refused_with_a_noise_that_will_do():
    def steep(t, x):
        return -1e4 * x

    x = 0.01 * np.random.default_rng(0).standard_normal((5_000, 1))
    paths = run(still, rate(0.0), x, [0.0, 0.1], score=steep, noise=0.2)
    assert paths.positions[1].var() == pytest.approx(1e-4, rel=0.1)
    with pytest.raises(ValueError, match=r"noise=9 needs .* steps, more than 20,000.*noise=[0-9.]+ will do") as found:
        run(still, rate(0.0), x, [0.0, 0.1, 0.5], score=steep, noise=9.0)
    will_do = float(str(found.value).rsplit("noise=", 1)[1].split()[0])
    most = math.sqrt(2 * chance.MOST_STEPS * chance.STABLE / (1e4 * 0.5))
    assert 0.8 * most < will_do < most


def test_steps_become_shorter_where_the_score_becomes_steeper_on_the_way():
    """A population that gathers a hundredfold between two times that are kept stays as it should."""
    x = np.random.default_rng(0).standard_normal((5_000, 1))
    paths = run(lambda t, x: -4.6 * x, rate(0.0), x, [0.0, 1.0], score=lambda t, x: -x * math.exp(9.2 * t), noise=0.7)
    assert paths.positions[1].std() == pytest.approx(math.exp(-4.6), rel=0.1)


def test_steepness_is_that_of_the_steepest_axis():
    def score(t, x):
        return -x * torch.tensor([1.0, 50.0, 3.0])

    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    found = chance.steepness(Known(still, rate(0.0), score=score), 0.0, x, torch.Generator().manual_seed(1))
    assert found == pytest.approx(50, rel=0.01)


def test_noise_about_a_resting_point_settles_as_ornstein_and_uhlenbeck_say():
    n, noise, x0 = 100_000, 0.5, 2.0
    paths = run(lambda t, x: -x, rate(0.0), np.full((n, 1), x0), [0.0, 0.5, 2.0], noise=noise)
    for k, t in enumerate([0.5, 2.0], start=1):
        x = paths.positions[k, :, 0].astype(float)
        assert off(x, x0 * math.exp(-t)) < SURE
        assert off((x - x0 * math.exp(-t)) ** 2, noise**2 * (1 - math.exp(-2 * t)) / 2) < SURE


def test_error_of_the_mean_falls_with_the_square_of_the_step():
    # of dx = -x dt + noise dB with growth x the mean mass is known: the integral of x is normal
    n, noise, t = 400_000, 0.5, 1.0
    decay = math.exp(-t)
    variance = noise**2 * (t - 2 * (1 - decay) + (1 - decay**2) / 2)
    wanted = math.exp(2 * (1 - decay) + variance / 2)
    errors = []
    for step in (1.0, 0.5):
        paths = run(lambda t, x: -x, lambda t, x: x[:, 0], np.full((n, 1), 2.0), [0.0, t], noise=noise, step=step)
        errors.append(paths.mass[1].astype(float).mean() - wanted)
    assert 3 < errors[0] / errors[1] < 6
    fine = run(lambda t, x: -x, lambda t, x: x[:, 0], np.full((n, 1), 2.0), [0.0, t], noise=noise, step=0.05)
    assert off(fine.mass[1].astype(float), wanted) < SURE


def test_without_noise_or_branching_it_is_the_deterministic_flow():
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    paths = run(lambda t, x: x @ turn, lambda t, x: 0.3 * x[:, 0], [[1.0, 0.0]], [0.0, 1.0, 2.0], step=0.01, common=0.2)
    angle = np.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(paths.positions[:, 0], np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-4)
    np.testing.assert_allclose(np.log(paths.mass[:, 0]), 0.3 * np.sin(angle) + 0.2 * angle, atol=1e-4)


def families(paths, n, k):
    """Living cells that each of ``n`` starting cells has at time ``k``."""
    return np.bincount(paths.founder, paths.mass[k], minlength=n)


@pytest.mark.parametrize(("growth", "common"), [(0.9, 0.0), (-0.7, 0.0), (0.6, -0.2), (-0.5, 0.9)])
def test_numbers_of_cells_follow_yule_and_death_processes(growth, common):
    n = 20_000
    paths = run(still, rate(growth), np.zeros((n, 2)), [0.0, 0.7, 1.5], divide=True, common=common)
    for k, t in enumerate([0.7, 1.5], start=1):
        mean = math.exp((growth + common) * t)
        variance = mean * (mean - 1) if mean > 1 else mean * (1 - mean)
        counts = families(paths, n, k)
        assert off(counts, mean) < SURE
        assert off((counts - mean) ** 2, variance) < SURE


def test_expected_number_is_the_mass_where_growth_changes_sign_in_space_and_time():
    def drift(t, x):
        return 0.5 - x

    def growth(t, x):
        return 1.5 * torch.sin(3 * x[:, 0]) - 0.5 * t

    n, times = 40_000, [0.0, 1.0, 2.0]
    x = np.full((n, 1), -0.5)
    counts = run(drift, growth, x, times, noise=0.4, divide=True)
    weighted = run(drift, growth, x, times, noise=0.4, seed=1)
    for k in (1, 2):
        number, mass = families(counts, n, k), weighted.mass[k].astype(float)
        error = math.hypot(number.std(), mass.std()) / math.sqrt(n)
        assert abs(number.mean() - mass.mean()) < SURE * error
        # and where they are
        place = counts.positions[k, :, 0].astype(float)
        first = np.bincount(counts.founder, counts.mass[k] * place, minlength=n)
        moment = mass * weighted.positions[k, :, 0]
        assert abs(first.mean() - moment.mean()) < SURE * math.hypot(first.std(), moment.std()) / math.sqrt(n)


def grown(seed=0):
    def growth(t, x):
        return 2.0 * torch.sign(x[:, 0])  # dies on the left, divides on the right

    rng = np.random.default_rng(0)
    return run(still, growth, rng.standard_normal((60, 3)), np.linspace(0, 2, 21), noise=0.3, divide=True, seed=seed)


def test_every_column_is_a_whole_path():
    paths = grown()
    n = len(paths.parent)
    alive = paths.mass == 1
    assert n > 60 and set(np.unique(paths.mass)) == {0.0, 1.0}
    assert alive[0, :60].all() and not alive[0, 60:].any()
    assert (paths.parent[:60] == -1).all() and (paths.parent[60:] < np.arange(60, n)).all()
    np.testing.assert_array_equal(paths.founder[:60], np.arange(60))
    np.testing.assert_array_equal(paths.founder[60:], paths.founder[paths.parent[60:]])
    for column in range(n):
        lives = np.flatnonzero(alive[:, column])
        if not len(lives):  # born and dead between two of the times
            continue
        born, last = lives[0], lives[-1]
        assert len(lives) == last - born + 1  # once dead, dead
        if column >= 60:
            mother = paths.parent[column]
            np.testing.assert_array_equal(paths.positions[:born, column], paths.positions[:born, mother])
        after = paths.positions[last + 1 :, column]
        assert len(after) == 0 or (after == after[0]).all()  # stays where it died


def test_extinct_populations_have_mass_0_and_keep_their_places():
    paths = run(still, rate(-200.0), np.arange(6.0).reshape(3, 2), [0.0, 1.0, 2.0], divide=True, noise=0.1)
    assert (paths.mass[1:] == 0).all() and (paths.mass[0] == 1).all()
    np.testing.assert_array_equal(paths.positions[1], paths.positions[2])
    np.testing.assert_allclose(paths.positions[1], paths.positions[0], atol=0.5)


def test_same_seed_same_paths(same_random_state):
    first, again, other = grown(), grown(), grown(seed=1)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(other.parent) != len(first.parent) or (other.positions != first.positions).any()


def test_too_many_cells_are_refused_by_number_and_time(monkeypatch):
    monkeypatch.setattr(chance, "MOST_NUMBERS", 2 * 3 * 50)
    with pytest.raises(ValueError, match=r"By time 1 .* cells have lived.*n_cells"):
        run(still, rate(5.0), np.zeros((10, 2)), [0.0, 1.0, 4.0], divide=True)
    run(still, rate(0.0), np.zeros((50, 2)), [0.0, 1.0, 4.0], divide=True)
