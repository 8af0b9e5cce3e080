from __future__ import annotations

import numpy as np
import pytest

from vgfm_sc.pl._grid import FEWEST, MOST, Grid


@pytest.fixture(scope="module")
def lattice() -> np.ndarray:
    """A cell at each of 20 x 20 nodes, 0.5 and 2 apart."""
    return np.stack(np.meshgrid(np.arange(20) * 0.5 - 3, np.arange(20) * 2.0, indexing="ij"), axis=2).reshape(-1, 2)


def test_nodes_span_the_cells(lattice):
    grid = Grid(lattice, 1.0)
    assert grid.shape == (20, 20)
    np.testing.assert_allclose(grid.step, [0.5, 2.0])
    assert [(a[0], a[-1]) for a in grid.axes] == [(-3, 6.5), (0, 38)]
    np.testing.assert_array_equal(grid.node[[0, 1, 20, 399]], [[0, 0], [0, 1], [1, 0], [19, 19]])


def test_nodes_grow_with_cells_and_density_within_bounds():
    x = np.random.default_rng(0).normal(size=(5000, 2))
    assert [Grid(x[:n], 1.0).shape[0] for n in (2, 400, 5000)] == [FEWEST, 20, MOST]
    assert [Grid(x, density).shape[0] for density in (1e-9, 0.5, 2.0)] == [2, MOST // 2, 2 * MOST]


def test_a_constant_field_has_its_own_mean(lattice):
    x = np.random.default_rng(0).normal(size=(500, 2)) ** 3
    for cells in (lattice, x):
        at, v = Grid(cells, 1.0).mean(np.broadcast_to([0.3, -2.0], cells.shape))
        assert len(at) > 20
        np.testing.assert_allclose(v, np.broadcast_to([0.3, -2.0], at.shape))


def test_a_linear_field_is_met_at_the_nodes(lattice):
    """Surroundings are symmetric but for the border, six steps from which they weigh exp(-18)."""
    matrix = np.array([[0.0, 1.0], [-2.0, 0.5]])
    grid = Grid(lattice, 1.0)
    u, covered = grid.field(lattice @ matrix + 1)
    assert covered.all()
    inner = slice(6, 14)
    nodes = np.stack(np.meshgrid(*grid.axes, indexing="ij"), axis=2)[inner, inner]
    np.testing.assert_allclose(u[inner, inner], nodes @ matrix + 1, rtol=1e-6, atol=1e-5)


def test_means_are_those_of_gaussian_weights():
    """Against the sum over all cells, each moved to its node."""
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    grid = Grid(x, 0.5)
    u, covered = grid.field(v)
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            weight = np.exp(-0.5 * ((grid.node - [i, j]) ** 2).sum(axis=1))
            assert covered[i, j] == (weight.sum() >= 1.5)
            if covered[i, j]:
                np.testing.assert_allclose(u[i, j], (weight[:, None] * v).sum(axis=0) / weight.sum())


def test_where_there_are_no_cells_and_at_lone_ones_there_is_no_mean(lattice):
    cloud = lattice * [0.1, 0.025]  # 0.95 wide and high
    stray = np.array([[20.0, 20.0]])
    x = np.concatenate([cloud, cloud + [10, 0], stray])
    grid = Grid(x, 1.0)
    at, _ = grid.mean(np.ones_like(x))
    off = np.abs((at[:, None] - x[None, :-1]) / grid.step).max(axis=2).min(axis=1)
    assert off.max() < 4 and len(at) < 0.2 * np.prod(grid.shape)
    assert (np.abs((at - stray) / grid.step).max(axis=1) > 4).all()


def test_single_cells_are_the_nearest_to_their_nodes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    grid = Grid(x, 1.0)
    at, v = grid.some(x, 2 * x)
    np.testing.assert_array_equal(v, 2 * at)
    assert len(at) == len(np.unique(grid.node, axis=0)) < 300
    off = np.linalg.norm((x - grid.low) / grid.step - grid.node, axis=1)
    for cell in at:
        (chosen,) = np.flatnonzero((x == cell).all(axis=1))
        assert off[chosen] == off[(grid.node == grid.node[chosen]).all(axis=1)].min()


def test_an_axis_without_extent_is_one_wide():
    x = np.column_stack([np.linspace(0, 1, 50), np.full(50, 7.0)])
    grid = Grid(x, 1.0)
    assert (grid.node[:, 1] == 0).all() and grid.axes[1][0] == 7 and grid.axes[1][-1] == 8
    assert all(np.isfinite(part).all() for part in grid.mean(np.ones_like(x)))
