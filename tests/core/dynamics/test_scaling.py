import numpy as np
import pytest

from vgfm_sc.core.dynamics import scaling as scalings
from vgfm_sc.core.dynamics.scaling import Scaling

TIMES = np.array([10.0, 10.5, 12.0])


def planted(n, d=300, seed=0):
    """Three strong directions in white noise of unit variance, off centre; and the directions, shape ``(3, d)``."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((d, 3)))[0].T
    return rng.standard_normal((n, 3)) * [20, 15, 10] @ axes + rng.standard_normal((n, d)) + 3, axes


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8, 1e200])
def test_scaling_is_unitless_and_goes_back(size):
    x = size * (np.random.default_rng(0).standard_normal((100, 3)) * [1, 2, 3] + 5)
    scaling = Scaling.of(x, TIMES)
    unitless = scaling.to_unitless(x)
    assert unitless.var(axis=0).mean() == pytest.approx(1)
    np.testing.assert_allclose(unitless.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaling.displacement(unitless) + scaling.centre, x)
    np.testing.assert_allclose(scaling.to_unitless_time(TIMES), [-1, -0.5, 1])


@pytest.mark.parametrize("n", [150, 600, 300])
@pytest.mark.parametrize("size", [1.0, 1e-150, 1e150])
def test_signal_axes_find_what_stands_out_of_white_noise(n, size):
    x, axes = planted(n)
    scaling = Scaling.of(size * x, TIMES)
    assert scaling.n_axes == 3 and scaling.axes.shape == (3, 300)
    np.testing.assert_allclose(scaling.axes @ scaling.axes.T, np.eye(3), atol=1e-9)
    cosines = np.linalg.svd(scaling.axes @ axes.T, compute_uv=False)  # of the angles between the subspaces
    assert cosines.min() > 0.97
    unitless = scaling.to_unitless(size * x)
    assert unitless.shape == (n, 3)
    assert unitless.var(axis=0).mean() == pytest.approx(1)
    np.testing.assert_allclose(unitless.mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("n", [150, 600])
def test_signal_axes_are_those_of_a_singular_value_decomposition(n):
    x, _ = planted(n)
    axes, variance = scalings.signal_axes(x, x.mean(axis=0))
    _, singular, vectors = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs((axes * vectors[:3]).sum(axis=1)), 1, rtol=1e-9)
    np.testing.assert_allclose(variance, singular[:3] ** 2 / n)


def test_rows_added_up_in_parts_change_nothing(monkeypatch):
    x, _ = planted(600)
    axes, variance = scalings.signal_axes(x, x.mean(axis=0))
    monkeypatch.setattr(scalings, "BLOCK_NUMBERS", 300 * 7)
    again, same = scalings.signal_axes(x, x.mean(axis=0))
    np.testing.assert_allclose(same, variance)
    np.testing.assert_allclose(np.abs((axes * again).sum(axis=1)), 1)


@pytest.mark.parametrize("n", [200, 900])
def test_white_noise_alone_keeps_an_axis_and_little_more(n):
    x = np.random.default_rng(0).standard_normal((n, 300))
    assert 1 <= Scaling.of(x, TIMES).n_axes <= 2


@pytest.mark.parametrize("n", [50, 400])
def test_a_hundred_axes_are_all_kept(n):
    x = planted(n, d=scalings.MANY_AXES)[0]
    scaling = Scaling.of(x, TIMES)
    assert scaling.axes is None and scaling.n_axes == 100
    np.testing.assert_allclose(scaling.to_unitless(x) * scaling.length + scaling.centre, x)


def test_one_axis_more_and_the_noise_is_left_out():
    assert Scaling.of(planted(400, d=scalings.MANY_AXES + 1)[0], TIMES).n_axes == 3


def test_fewer_cells_than_axes_do_not_keep_their_noise():
    assert Scaling.of(planted(80)[0], TIMES).n_axes == 3


def test_genes_without_variance_are_no_noise():
    x, _ = planted(600)
    silent = np.zeros((600, 900))
    axes = Scaling.of(np.hstack([x, silent]), TIMES).axes
    assert len(axes) == 3 and not axes[:, 300:].any()


@pytest.mark.parametrize(("n", "rank"), [(150, 5), (600, 5), (600, 120)])
def test_cells_that_span_few_axes_keep_all_of_them(n, rank):
    """Of lower rank than noise: nothing is lost, and rounding adds none."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((n, rank)) + 3) @ rng.standard_normal((rank, 300))
    scaling = Scaling.of(x, TIMES)
    assert scaling.n_axes == rank
    np.testing.assert_allclose(scaling.axes @ scaling.axes.T, np.eye(rank), atol=1e-7)
    np.testing.assert_allclose(scaling.displacement(scaling.to_unitless(x)) + scaling.centre, x, atol=1e-6)


def test_displacement_undoes_what_unitless_positions_differ_by():
    """Of any two cells: their difference, less what is across the axes."""
    x, _ = planted(400)
    scaling = Scaling.of(x, TIMES)
    unitless = scaling.to_unitless(x)
    found = scaling.displacement(unitless[1:] - unitless[:-1])
    wanted = (x[1:] - x[:-1]) @ scaling.axes.T @ scaling.axes
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_allclose(scaling.to_unitless(x[:5] + found[:5]), unitless[1:6], atol=1e-9)
    course = np.random.default_rng(0).standard_normal((4, 7, 3))  # of any leading shape
    np.testing.assert_allclose(scaling.displacement(course)[2, 5], scaling.displacement(course[2, 5]))
