import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from vgfm_sc.core import neighbours


@pytest.mark.parametrize("block", [1, 700, 10**6])
def test_nearest_agrees_with_a_tree_whatever_the_block(block):
    x = np.random.default_rng(0).standard_normal((120, 3))
    found = neighbours.nearest(torch.as_tensor(x), torch.as_tensor(x), 7, block)
    wanted = cKDTree(x).query(x, 7)[1]
    assert found.shape == (120, 7)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(wanted, axis=1))
    np.testing.assert_array_equal(found[:, 0], np.arange(120))


@pytest.mark.parametrize("block", [1, 700, 10**6])
def test_spacing_is_the_median_distance_to_the_next_cell_per_axis(block):
    x = np.random.default_rng(0).standard_normal((121, 4))
    wanted = np.median(cKDTree(x).query(x, 2)[0][:, 1]) / 2
    assert neighbours.spacing(torch.as_tensor(x), block) == pytest.approx(wanted)


def test_spacing_of_a_grid_and_of_two_cells():
    grid = torch.cartesian_prod(torch.arange(60.0), torch.arange(60.0)) * 0.3  # more cells than are looked up
    assert neighbours.spacing(grid, 10**6) == pytest.approx(0.3 / 2**0.5, rel=1e-2)
    assert neighbours.spacing(torch.tensor([[0.0], [2.0]]), 10) == pytest.approx(2.0)


def test_cells_at_one_point_count_once():
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((50, 3)))
    assert neighbours.spacing(x.repeat(3, 1), 10**6) == pytest.approx(neighbours.spacing(x, 10**6))
    assert neighbours.spacing(torch.ones(4, 2), 10**6) == 0
