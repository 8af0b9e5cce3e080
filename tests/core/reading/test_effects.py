"""Differences between two runs, and the test of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from vgfm_sc.core.reading import effects
from vgfm_sc.core.reading.effects import Run


def test_energy_leaves_out_the_changed_direction_and_pairs_of_one_cell():
    rng = np.random.default_rng(0)
    x, counts = rng.normal(size=(5, 2)), np.array([[2.0, 1.0, 0.0, 1.0, 1.0]])
    mass = rng.gamma(2.0, size=5)
    shares, inside = np.full((5, 2), 0.5), np.zeros(5, dtype=bool)
    before, moved = Run(np.stack([mass]), x, shares, inside), x + np.array([7.0, 0.0])
    only = effects.effects(before, before._replace(ends=moved), counts, np.array([[1.0, 0.0]]))
    assert only.energy == pytest.approx(0, abs=1e-12)
    both = effects.effects(before, before._replace(ends=moved + [0.0, 0.5]), counts, np.array([[1.0, 0.0]]))
    w = counts[0] * mass
    pairs = np.outer(w, w) * (1 - np.eye(5))
    y, z = x[:, 1:], x[:, 1:] + 0.5
    by_hand = [(pairs * cdist(a, b)).sum() / pairs.sum() for a, b in ((y, z), (y, y), (z, z))]
    np.testing.assert_allclose(both.energy, 2 * by_hand[0] - by_hand[1] - by_hand[2])


def test_the_test_is_that_of_students_t_where_cells_are_many():
    values = np.random.default_rng(0).normal(0.5, 1, size=(8, 3))
    found, wanted = effects.tested(values, 0.0), stats.ttest_1samp(values, 0)
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
        found = effects.tested(rng.choice(cells, (10, n)).mean(axis=1, keepdims=True), n / pool)
        covered.append(found.low[0] < 0 < found.high[0])
    assert 0.935 < np.mean(covered) < 0.965


def test_what_never_changes_is_sure_and_nothing_is_no_effect():
    found = effects.tested(np.repeat([[0.0, 2.0]], 5, axis=0), 1.0)
    np.testing.assert_array_equal(found.pvals, [1, 0])
    np.testing.assert_array_equal(found.t, [0, np.inf])
