"""Growth that cells of one state share at all times."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from vgfm_sc import datasets, methods
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.course import Course
from vgfm_sc.core.training import train as training
from vgfm_sc.core.transport import growth


def course(positions, times=None, prior=None):
    """A course in which every cell holds the same mass."""
    times = list(times or range(len(positions)))
    totals = [len(x) / len(positions[0]) for x in positions]
    return Course(positions, times, totals, [1.0] * len(positions), np.diff(times), prior)


def fork(n=120, seed=0):
    """Cells at one place go two ways alike, and double in a unit of time on the upper one, which begins halfway."""
    rng = np.random.default_rng(seed)
    up = np.array([0, 2**0.5, 2**1.5])
    positions = [0.1 * rng.standard_normal((2 * n, 2))]
    for k in (1, 2):
        side = np.repeat([1.0, -1.0], [round(n * up[k]), n])
        positions.append(
            np.column_stack([np.full(len(side), float(k)), side]) + 0.1 * rng.standard_normal((len(side), 2))
        )
    return course(positions)


def couplings(course, method=None, **settings):
    bar = lambda name, total: nullcontext(SimpleNamespace(update=lambda: None))  # noqa: E731
    method = method or methods.vgfm(**settings)
    return training._couplings(course, None, method, 0, torch.device("cpu"), bar, None)[1]


def sent_up(coupling, course):
    """Share of what the first cells send, as they hold it, that goes to the upper way."""
    sent = coupling.plan.toarray() * np.exp(-coupling.early_growth[:, None] - coupling.late_growth)
    return sent[:, course.positions[1][:, 1] > 0].sum() / sent.sum()


def test_growth_after_a_fork_is_not_taken_for_motion_into_it():
    """Half of the cells go up. Alone the first interval cannot tell, and sends most of the 59% that are there."""
    data = fork()
    alone, told = (sent_up(couplings(data, shared_growth=shared)[0], data) for shared in (False, True))
    assert alone > 0.56
    assert told == pytest.approx(0.5, abs=0.02)


def test_growth_that_was_not_expected_costs_more_where_little_is_left():
    """Unitless and up to a common factor: an interval of other totals is judged alike."""
    log_growth = np.random.default_rng(0).standard_normal(10_000)
    factors = [growth.rho_factor(sd * log_growth + 2.0) for sd in (1.0, 0.65, 0.4, 0.28, 0.0)]
    assert factors[0] == factors[1] == 1.0 and factors[3:] == [growth.MOST_RHO] * 2
    assert factors[2] == pytest.approx(growth.LEFT**2 / 0.4**2, rel=0.05)


def test_chance_stays_out_of_growth():
    """Where single cells happen to lie is not to show in their growth."""
    adata = datasets.branching(n_cells=60, n_dims=10, times=(0.0, 1.0, 2.0), seed=0)
    x, time = adata.obsm["X_state"] / adata.obsm["X_state"].std(), adata.obs["time"].to_numpy()
    data, truth = course([x[time == t] for t in range(3)]), adata.obs["true_growth"].to_numpy()[time < 2]
    off = [
        np.std(np.concatenate([np.log(coupling.row_mass) for coupling in couplings(data, method)]) - truth)
        for method in (methods.vgfm(), replace(methods.vgfm(), takes_rho_factor=False))
    ]
    assert off[0] < 0.9 * off[1]


def test_couplings_are_asked_for_by_the_growth_before_them():
    """The second expects what the first has found, and the last what both have; only then is the penalty another."""
    data, seen = fork(30), []

    def noted(x0, x1, mass0, mass1, generator, *, rho_factor=None):
        seen.append((rho_factor, float(mass0.std())))
        return methods.otcfm().coupling(x0, x1, mass0, mass1, generator)

    couplings(data, methods.Method(noted, shared_growth=True, takes_rho_factor=True))
    assert [factor for factor, _ in seen[:2]] == [None, None] and len(seen) == 6
    assert all(1 <= factor <= growth.MOST_RHO for factor, _ in seen[2:])
    assert seen[0][1] == 0 and seen[2][1] > 0


def test_plans_told_of_growth_still_end_in_what_is_observed():
    data = fork()
    for coupling, x in zip(couplings(data), data.positions[1:], strict=True):
        np.testing.assert_allclose(coupling.plan.sum(axis=0), np.ones(len(x)), rtol=1e-5)
        held = (coupling.plan.toarray() * np.exp(-coupling.early_growth[:, None] - coupling.late_growth)).sum(axis=1)
        np.testing.assert_allclose(held, 1)


def test_growth_that_neighbours_have_in_common_is_not_flattened():
    """One interval; of two groups apart one becomes five times as many. The penalty alone makes less of that."""
    rng = np.random.default_rng(0)
    sides = [np.repeat([-1.0, 1.0], n) for n in ([150, 50], [150, 250])]
    data = course(
        [np.column_stack([1.8 * side, 0.0 * side]) + 0.1 * rng.standard_normal((len(side), 2)) for side in sides]
    )
    found = [np.log(couplings(data, rho=3.0, shared_growth=shared)[0].row_mass) for shared in (False, True)]
    alone, told = (log_growth[150:].mean() - log_growth[:150].mean() for log_growth in found)
    assert alone < 0.8 * np.log(5)
    assert told == pytest.approx(np.log(5), rel=0.05)


def test_blocks_change_nothing(monkeypatch):
    data = fork()
    whole = couplings(data)
    monkeypatch.setattr(growth, "BLOCK_CELLS", 70)
    for cut, wanted in zip(couplings(data), whole, strict=True):
        np.testing.assert_allclose(cut.plan.toarray(), wanted.plan.toarray(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("prior", [False, True])
def test_what_the_couplings_show_beyond_expectation_is_a_rate_of_the_state(prior):
    """Two groups far apart: of one, cells become ``e`` times as many in each interval of either length."""
    near = np.concatenate([np.zeros((30, 2)), np.full((10, 2), 50.0)])
    grows, durations = np.repeat([1.0, 0.0], [30, 10]), (0.5, 1.5)
    data = course([near, near, near], (0, 0.5, 2.0), [np.full(40, 0.3) + 0.2 * grows] * 3 if prior else None)
    found = []
    for duration in durations:
        early = duration * grows + (duration / 2 * data.prior[0] if prior else 0)
        found.append(Coupling(csr_array(np.diag(np.exp(early))), np.ones(40), True, 0, 0.0))
    told = growth.told(data, data, *growth.beyond(data, found))
    for rate in told.prior:
        beyond = rate - (data.prior[0] if prior else 0)
        np.testing.assert_allclose(beyond - beyond.mean(), grows - grows.mean(), atol=1e-6)


def test_growth_expected_at_the_ends_is_that_of_the_state_and_of_the_total():
    """Cells stay where they are and double in each unit of time in one of two places; the totals are 1.5 times that."""
    places = np.repeat([0.0, 50.0], 20)[:, None]
    rate = np.log(2) * (places[:, 0] > 0)
    data = replace(course([places] * 3, (0.0, 1.0, 3.0)), state_growth=[rate] * 3)
    late = [rate * duration / 2 for duration in data.durations]
    plans = [np.diag(1.5 * np.exp(2 * half)) for half in late]
    found = [Coupling(csr_array(p), np.ones(40), True, 0, 0.0, late=half) for p, half in zip(plans, late, strict=True)]
    shifted = replace(data, state_growth=[part + 3.0 for part in data.state_growth])  # the total says what all do
    for expecting in (data, shifted):
        for log_growth, duration in zip(growth.at_ends(expecting, found), data.durations, strict=True):
            np.testing.assert_allclose(log_growth, rate * duration + np.log(1.5))


def test_a_prior_that_is_alike_at_each_time_says_nothing():
    """Its level is that of the totals, whatever it is at the other times."""
    data = fork()
    with_prior = replace(
        data, prior=[np.full(len(x), rate) for x, rate in zip(data.positions, (2, 0, -1), strict=True)]
    )
    device, method = torch.device("cpu"), methods.vgfm()
    bar = lambda name, total: nullcontext(SimpleNamespace(update=lambda: None))  # noqa: E731
    ends = [growth.at_ends(*training._couplings(one, None, method, 0, device, bar, None)) for one in (data, with_prior)]
    for found, wanted in zip(*ends, strict=True):
        np.testing.assert_allclose(found, wanted, atol=0.01)


def test_a_total_that_is_off_is_the_offset_of_its_interval():
    """Growth is that of the state, x; the states of neighbouring intervals overlap."""
    rng = np.random.default_rng(0)
    interval = np.repeat([0, 1, 2], 300)
    x = rng.uniform(0, 2, 900) + 0.5 * interval
    off, weight = np.array([0.3, -0.7, 0.4]), np.array([1.0, 1.0, 4.0])[interval]
    rate = np.sin(x) + off[interval] + 0.1 * rng.standard_normal(900)
    means = growth.around(x[:, None], x[:, None], weight)
    np.testing.assert_allclose(means.sum(axis=1), 1)
    found = growth.offsets(rate, weight, interval, means)
    np.testing.assert_allclose(found - found.mean(), off, atol=0.05)
    more = np.array([5.0, -1.0, 2.0])
    np.testing.assert_allclose(growth.offsets(rate + more[interval], weight, interval, means), found + more, atol=1e-9)


def test_intervals_without_a_state_in_common_have_their_means_as_offsets():
    rate, interval = np.random.default_rng(0).standard_normal(400), np.repeat([0, 1], 200)
    x = 1e4 * interval[:, None] + np.arange(400)[:, None] % 200
    found = growth.offsets(rate, np.ones(400), interval, growth.around(x, x, np.ones(400)))
    np.testing.assert_allclose(found, [rate[:200].mean(), rate[200:].mean()])


def test_large_snapshots_are_sampled_with_their_totals(monkeypatch):
    monkeypatch.setattr(growth, "MOST_CELLS", 50)
    positions = [np.arange(n, dtype=float)[:, None] for n in (40, 120, 51)]
    data = course(positions, prior=[x[:, 0] for x in positions])
    sample, again, other = (growth.sampled(data, seed) for seed in (0, 0, 1))
    assert [len(x) for x in sample.positions] == [40, 50, 50]
    for k in range(3):
        np.testing.assert_array_equal(sample.positions[k][:, 0], sample.prior[k])
        np.testing.assert_array_equal(sample.positions[k], again.positions[k])
        assert len(np.unique(sample.positions[k])) == len(sample.positions[k])
        held = sample.masses[k] * np.ones(len(sample.positions[k]))
        assert held.sum() == pytest.approx(len(positions[k])) and held.min() >= 1
    assert (sample.positions[1] != other.positions[1]).any()


@pytest.mark.parametrize("places", [1, 3], ids=["one place", "three places"])
def test_cells_of_a_sample_stand_for_those_around_them(monkeypatch, places):
    """By chance a sample has more of one state than of another; its masses do not. Cells may lie at one point."""
    monkeypatch.setattr(growth, "BLOCK_CELLS", 100)
    state = np.repeat(np.arange(places), 1800 // places)
    rows = np.random.default_rng(0).choice(1800, 300, replace=False)
    count = growth.stands_for(10.0 * state[:, None], rows)
    assert count.min() >= 1
    of_state = [count[state[rows] == k].sum() for k in range(places)]
    np.testing.assert_allclose(of_state, 1800 // places)
    if places > 1:
        assert np.ptp(np.bincount(state[rows])) > 2


def test_a_sample_tells_of_all_cells(monkeypatch):
    monkeypatch.setattr(growth, "MOST_CELLS", 100)
    data = fork()
    told = couplings(data)[0]
    assert told.plan.shape == (240, 290) and sent_up(told, data) == pytest.approx(0.5, abs=0.05)
