"""One kernel, followed forward and backward."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from vgfm_sc.core.reading import lineages

PLAN = csr_matrix([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
"""Columns that hold unequal mass, a source without descendants and a target without ancestors."""


def test_descendants_are_means_over_ancestors():
    found = lineages.of_descendants(PLAN, np.array([1.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(found, [0.5, 0.75, np.nan])


def test_ancestors_share_in_each_cell_whatever_its_mass():
    found = lineages.of_ancestors(PLAN, np.array([0.5, 0.5, 0.0]))
    np.testing.assert_allclose(found, [0.25, 0.375, 0.375, np.nan])


def test_cells_without_ancestors_are_left_out_of_the_shares():
    found = lineages.of_ancestors(PLAN, np.array([0.4, 0.0, 0.6]))
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0, np.nan])
    assert np.isnan(lineages.of_ancestors(PLAN, np.array([0.0, 0.0, 1.0]))).all()


def test_ancestors_of_which_nothing_is_known_are_not_asked():
    found = lineages.of_descendants(PLAN, np.array([np.nan, 1.0, 0.0, 0.0]))
    np.testing.assert_allclose(found, [1.0, 0.25, np.nan])


def test_both_directions_agree():
    rng = np.random.default_rng(0)
    plan = csr_matrix(rng.random((6, 5)) * (rng.random((6, 5)) < 0.7))
    q, p = rng.random(6), rng.random(5)
    p /= p.sum()
    np.testing.assert_allclose(p @ lineages.of_descendants(plan, q), lineages.of_ancestors(plan, p) @ q)
