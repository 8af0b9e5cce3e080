from __future__ import annotations

import numpy as np
import pytest

from vgfm_sc.core.dynamics import clock
from vgfm_sc.core.dynamics.scaling import Scaling

HOURS = np.array([0, 0.25, 1.0, 6.0, 24.0, 168.0])


def courses(n=200, seed=0):
    """Time points with intervals from 1e-6 of the longest."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        dt = 10 ** rng.uniform(-6, 0, rng.integers(2, 9))
        yield rng.normal() + np.concatenate([[0], np.cumsum(dt)])


@pytest.mark.parametrize("times", [[0, 1], [0, 1, 2], [-3, 5, 7], [1e8, 1e8 + 1, 1e8 + 5]])
def test_the_clock_is_time_where_intervals_are_alike(times):
    assert clock.ticks(np.array(times, dtype=float)) is None
    scaling = Scaling.of(np.random.default_rng(0).normal(size=(9, 2)), np.array(times, dtype=float))
    assert scaling.ticks is None
    unit = (times[-1] - times[0]) / (len(times) - 1)
    np.testing.assert_array_equal(scaling.time_unit_at(np.array([times[0], times[1]])), unit)


def test_ticks_are_as_unequal_as_allowed_in_the_same_order():
    (times, at), dt = clock.ticks(HOURS), np.diff(HOURS)
    np.testing.assert_array_equal(times, HOURS)
    passed = np.diff(at)
    assert passed.max() / passed.min() == pytest.approx(clock.EVEN)
    np.testing.assert_array_equal(np.argsort(passed), np.argsort(dt))
    assert passed.mean() == pytest.approx(1) and at[0] == pytest.approx(-at[-1])


def test_nothing_happens_where_ticks_set_in():
    """Just above the bound the clock is all but time."""
    times = np.array([0, 1, 1 + 1.0001 * clock.EVEN])
    scaling = Scaling.of(np.random.default_rng(0).normal(size=(9, 2)), times)
    assert scaling.ticks is not None
    t = np.linspace(*times[[0, -1]], 50)
    even = Scaling.of(np.random.default_rng(0).normal(size=(9, 2)), times[[0, 2]])._replace(time_unit=times[-1] / 2)
    np.testing.assert_allclose(scaling.to_unitless_time(t), even.to_unitless_time(t), atol=2e-4)
    np.testing.assert_allclose(scaling.time_unit_at(t), even.time_unit_at(t), rtol=1e-3)


@pytest.mark.parametrize("nodes", [nodes for nodes in map(clock.ticks, courses()) if nodes is not None][:60])
def test_the_clock_never_stops_or_jumps(nodes):
    times = nodes[0]
    np.testing.assert_allclose(clock.read(nodes, times), nodes[1], atol=1e-9)
    for t0, t1 in zip(times[:-1], times[1:], strict=True):
        t = np.linspace(t0, t1, 200)
        found, mean = clock.rate(nodes, t), (clock.read(nodes, t1) - clock.read(nodes, t0)) / (t1 - t0)
        assert (found > 0).all() and (found < 3 * mean).all()
        slope = np.diff(clock.read(nodes, t)) / np.diff(t)
        np.testing.assert_allclose(slope, (found[1:] + found[:-1]) / 2, rtol=0.05, atol=0.01 * mean)


def test_before_and_after_the_course_the_clock_goes_on_evenly():
    nodes = clock.ticks(HOURS)
    for end in (0, -1):
        t = HOURS[end] + np.array([-100.0, -50.0]) * (1 if end == 0 else -1)
        rate = clock.rate(nodes, HOURS[end])
        np.testing.assert_allclose(clock.rate(nodes, t), rate)
        np.testing.assert_allclose(clock.read(nodes, t) - nodes[1, end], rate * (t - HOURS[end]))


def test_the_unit_and_origin_of_time_do_not_matter():
    nodes, minutes = clock.ticks(HOURS), clock.ticks(60 * HOURS + 17)
    np.testing.assert_allclose(nodes[1], minutes[1])
    np.testing.assert_allclose(clock.rate(nodes, HOURS), 60 * clock.rate(minutes, 60 * HOURS + 17))
