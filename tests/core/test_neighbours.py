import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from vgfm_sc.core import neighbours


@pytest.mark.parametrize("d", [3, 30])
def test_nearest_agrees_with_a_tree_in_few_dimensions_and_in_many(d):
    x = np.random.default_rng(0).standard_normal((120, d))
    distance, found = neighbours.nearest(x, x, 7)
    wanted_distance, wanted = cKDTree(x).query(x, 7)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(distance, wanted_distance, atol=1e-6)


def test_kernel_weights_fall_to_zero_at_the_first_cell_that_does_not_count():
    x = np.random.default_rng(0).standard_normal((50, 3))
    points = x[:4] + 0.01
    weight = neighbours.kernel(points, x, 6).toarray()
    distance = np.linalg.norm(points[:, None] - x, axis=2)
    reach = np.sort(distance, axis=1)[:, 6:7]
    np.testing.assert_allclose(weight, np.where(distance < reach, (1 - (distance / reach) ** 2) ** 2, 0), atol=1e-9)


def test_kernel_of_cells_at_one_place_weighs_them_alike():
    np.testing.assert_array_equal(neighbours.kernel(np.ones((1, 2)), np.zeros((3, 2)), 6).toarray(), 1)
    np.testing.assert_array_equal(neighbours.kernel(np.ones((1, 2)), np.ones((3, 2)), 2).toarray(), 1)


def test_spacing_is_the_median_distance_to_the_next_cell_per_axis():
    x = np.random.default_rng(0).standard_normal((121, 4))
    wanted = np.median(cKDTree(x).query(x, 2)[0][:, 1]) / 2
    assert neighbours.spacing(torch.as_tensor(x)) == pytest.approx(wanted)


def test_spacing_of_a_grid_and_of_two_cells():
    grid = torch.cartesian_prod(torch.arange(60.0), torch.arange(60.0)) * 0.3  # more cells than are looked up
    assert neighbours.spacing(grid) == pytest.approx(0.3 / 2**0.5, rel=1e-2)
    assert neighbours.spacing(torch.tensor([[0.0], [2.0]])) == pytest.approx(2.0)


def test_cells_at_one_point_count_once():
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((50, 3)))
    assert neighbours.spacing(x.repeat(3, 1)) == pytest.approx(neighbours.spacing(x))
    assert neighbours.spacing(torch.ones(4, 2)) == 0
