import numpy as np
import pytest

from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading import projection


def cells(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def laid(x, y, v, points):
    return projection.project(x, y, v, points, Scaling.of(x, np.array([0.0, 1.0])), 0)


def test_linear_embedding_is_the_matrix_product():
    x, v, points = cells(300, 20), cells(300, 20, 1), cells(7, 20, 2)
    matrix, offset = cells(20, 2, 3), np.array([5.0, -3.0])
    velocity, placed = laid(x, x @ matrix + offset, v, points)
    np.testing.assert_allclose(velocity, v @ matrix, rtol=1e-9)
    np.testing.assert_allclose(placed, points @ matrix + offset, rtol=1e-9)


def test_a_map_with_as_many_numbers_as_cells_is_not_taken_for_linear():
    x, y = cells(40, 30), cells(40, 2, 1)
    assert projection.linear_map(x, y, np.random.default_rng(0)) is None
    assert projection.linear_map(cells(200, 30), cells(200, 2, 1), np.random.default_rng(0)) is None


def test_single_precision_of_a_linear_embedding_is_no_obstacle():
    x, matrix = cells(200, 5), cells(5, 2, 1)
    assert projection.linear_map(x, (x @ matrix).astype(np.float32), np.random.default_rng(0)) is not None


@pytest.mark.parametrize(("d", "most"), [(2, 20_000), (7, 20_000), (7, 10_000)])
def test_velocity_on_a_curved_embedding_keeps_direction_and_length(monkeypatch, d, most):
    """A strip rolled up: the true velocity on the roll is known. In more dimensions it lies on a plane."""
    monkeypatch.setattr(projection, "LANDMARKS", most)  # half as many in seven dimensions: fewer than there are cells
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.uniform(0, 4, 6000), rng.uniform(0, 1, 6000)])
    plane = np.linalg.qr(rng.standard_normal((d, 2)))[0].T if d > 2 else np.eye(2)

    def roll(at):
        return np.column_stack([(1 + at[:, 1]) * np.cos(at[:, 0]), (1 + at[:, 1]) * np.sin(at[:, 0])])

    v = np.column_stack([np.full(len(x), 0.7), np.full(len(x), 0.2)])
    inner = (x > [0.3, 0.2]).all(1) & (x < [3.7, 0.8]).all(1)
    true = (roll(x + 1e-6 * v) - roll(x - 1e-6 * v)) / 2e-6
    found, placed = laid(x @ plane, roll(x), v @ plane, x @ plane)
    off = np.linalg.norm(found - true, axis=1) / np.linalg.norm(true, axis=1)
    assert np.median(off[inner]) < 0.1
    assert np.linalg.norm(placed - roll(x), axis=1)[inner].max() < 0.1


def test_no_velocity_stays_none_and_places_do_not_jump():
    x, y = cells(200, 3), cells(200, 2, 1) ** 3
    velocity, _ = laid(x, y, np.zeros_like(x), x[:1])
    assert (velocity == 0).all()
    landmarks = projection.Landmarks(x, y, 0)
    line = np.linspace(-1, 1, 4001)[:, None] * np.ones(3)
    steps = np.linalg.norm(np.diff(landmarks.place(line), axis=0), axis=1)
    assert steps.max() < 0.05


def test_cells_at_one_point_and_fewer_cells_than_neighbours_are_placed():
    x = np.repeat(cells(3, 2), 20, axis=0)
    y = np.repeat(cells(3, 2, 1), 20, axis=0) ** 2
    velocity, placed = laid(x, y, np.ones_like(x), x)
    assert np.isfinite(velocity).all()
    np.testing.assert_allclose(placed, y, atol=1e-5)
    few = laid(cells(5, 3), cells(5, 2, 1), cells(5, 3, 2), cells(2, 3, 3))
    assert all(np.isfinite(part).all() for part in few)


@pytest.mark.parametrize("most", [100, 500])
def test_landmarks_and_blocks_bound_the_work_and_are_seeded(monkeypatch, most):
    monkeypatch.setattr(projection, "LANDMARKS", most)
    x, y, v = cells(400, 3), cells(400, 2, 1) ** 3, cells(400, 3, 2)
    once, again = laid(x, y, v, x), laid(x, y, v, x)
    monkeypatch.setattr(projection, "BLOCK_POINTS", 30)
    blocked = laid(x, y, v, x)
    for a, b, c in zip(once, again, blocked, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-3, atol=1e-4)
