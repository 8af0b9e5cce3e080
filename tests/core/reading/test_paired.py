from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from vgfm_sc.core.reading.distances import energy_distance
from vgfm_sc.core.reading.paired import difference, influence


def draw(rng, n=50, m=60):
    """A good and a poor prediction from the same starting cells, their masses, and the cells observed."""
    start = rng.normal(size=(n, 3))
    return start * [1.2, 1, 1], start + 0.5, np.exp(0.5 * start[:, 0]), np.ones(n), rng.normal(size=(m, 3))


def test_the_difference_is_that_of_the_unbiased_energy_distances():
    good, poor, good_mass, poor_mass, y = draw(np.random.default_rng(0))
    found, _ = difference(influence(poor, y, poor_mass), influence(good, y, good_mass))
    assert found == pytest.approx(energy_distance(poor, y, poor_mass) - energy_distance(good, y, good_mass))


def test_a_prediction_does_not_differ_from_itself():
    good, _, mass, _, y = draw(np.random.default_rng(0))
    assert difference(influence(good, y, mass), influence(good, y, 3 * mass)) == pytest.approx((0, 0), abs=1e-12)


def test_the_standard_error_is_how_much_the_difference_varies_from_sample_to_sample():
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        good, poor, good_mass, poor_mass, y = draw(rng)
        found.append(difference(influence(poor, y, poor_mass), influence(good, y, good_mass)))
    differences, errors = np.transpose(found)
    assert errors.mean() == pytest.approx(differences.std(), rel=0.12)


def test_the_influence_of_a_cell_is_the_change_as_its_weight_rises():
    x, _, mass, _, y = draw(np.random.default_rng(1))
    found, step = influence(x, y, mass), 1e-6

    def biased(weight):  # the correction for pairs of a cell with itself is left out
        p = weight / weight.sum()
        return 2 * (p @ cdist(x, y)).mean() - p @ cdist(x, x) @ p

    for i in (0, 7):
        heavier = mass.copy()
        heavier[i] *= 1 + step * len(x)
        slope = (biased(heavier) - biased(mass)) / step
        assert slope == pytest.approx(found.of_predicted[i], rel=1e-3, abs=1e-4)
    assert found.of_predicted.mean() == pytest.approx(0, abs=1e-12)
    assert found.of_observed.mean() == pytest.approx(0, abs=1e-12)
