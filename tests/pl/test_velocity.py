from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.quiver import Quiver

from vgfm_sc import pl
from vgfm_sc.pl import _grid
from vgfm_sc.pl._velocity import _round_down

kinds = pytest.mark.parametrize("kind", ["grid", "arrows", "stream"])


def of_type(ax: Axes, kind: type) -> list:
    return [c for c in ax.collections if isinstance(c, kind)]


def arrows(ax: Axes) -> tuple[np.ndarray, np.ndarray, float]:
    """Where arrows start, how far they reach, and the time span that is written."""
    (drawn,) = of_type(ax, Quiver)
    assert (drawn.angles, drawn.scale_units, drawn.scale, drawn.pivot) == ("xy", "xy", 1, "tail")  # they end there
    (said,) = [text.get_text() for text in ax.texts]
    assert said.startswith("arrows span day = ")
    return np.asarray(drawn.XY), np.column_stack([drawn.U, drawn.V]), float(said.split("=")[1])


@pytest.fixture
def even(made):
    """60 cells spread over 4 x 2."""
    made.obsm["X_r"] = np.random.default_rng(1).uniform(size=(60, 2)) * [4, 2] + [10, 0]
    return made


def moving(adata, v):
    adata.obsm["vgfm_velocity_r"] = np.broadcast_to(v, (adata.n_obs, 2)).astype(np.float32)
    return adata


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_arrows_of_cells_are_velocity_times_the_span(even, scale):
    even.obsm["vgfm_velocity_r"] = v = even.obsm["vgfm_velocity_r"] * scale
    at, along, span = arrows(pl.velocity(even, kind="arrows", show=False))
    rows = [int(np.flatnonzero((even.obsm["X_r"] == cell).all(axis=1))[0]) for cell in at]
    assert len(set(rows)) == len(rows) > 30
    np.testing.assert_allclose(along, v[rows] * span, rtol=1e-5)


def test_arrows_on_the_grid_are_the_mean_velocity_times_the_span(even):
    at, along, span = arrows(pl.velocity(even, show=False))
    grid = _grid.Grid(even.obsm["X_r"], 1.0)
    nodes, v = grid.mean(even.obsm["vgfm_velocity_r"].astype(float))
    np.testing.assert_allclose(at, nodes)
    np.testing.assert_allclose(along, v * span)


@pytest.mark.parametrize("kind", ["grid", "arrows"])
def test_in_a_constant_field_all_arrows_are_alike(even, kind):
    _, along, span = arrows(pl.velocity(moving(even, [0.5, -0.25]), kind=kind, show=False))
    np.testing.assert_allclose(along, np.broadcast_to([0.5 * span, -0.25 * span], along.shape), rtol=1e-5)


@pytest.mark.parametrize("kind", ["grid", "arrows"])
def test_the_span_is_round_and_as_long_as_arrows_have_room(even, kind):
    _, along, span = arrows(pl.velocity(even, kind=kind, show=False))
    assert f"{span:.0e}"[0] in "125" and span == float(f"{span:.0e}")
    reach = np.quantile(np.linalg.norm(along / _grid.Grid(even.obsm["X_r"], 1.0).step, axis=1), 0.95)
    assert _grid.ARROW / 2.5 < reach <= _grid.ARROW * (1 + 1e-6)


def test_the_span_does_not_depend_on_the_unit_of_space(even):
    _, _, span = arrows(pl.velocity(even, show=False))
    even.obsm["X_r"], even.obsm["vgfm_velocity_r"] = 1000 * even.obsm["X_r"], 1000 * even.obsm["vgfm_velocity_r"]
    assert arrows(pl.velocity(even, show=False))[2] == span


@pytest.mark.parametrize(
    ("number", "round_number"),
    [(1, 1), (1.99, 1), (2, 2), (4.99, 2), (5, 5), (9.99, 5), (0.013, 0.01), (0.05, 0.05), (7e5, 5e5), (3e-9, 2e-9)],
)
def test_numbers_are_rounded_down_to_1_2_or_5(number, round_number):
    assert _round_down(number) == pytest.approx(round_number, rel=1e-12)


def stray(adata):
    """All cells but the last in a square of side 1, the last far away."""
    x = np.random.default_rng(1).uniform(size=(60, 2))
    x[-1] = [20, 20]
    adata.obsm["X_r"] = x
    return moving(adata, [0.1, 0.1])


def test_a_lone_stray_has_no_arrow_on_the_grid_and_no_stream(made):
    at, _, _ = arrows(pl.velocity(stray(made), show=False))
    assert len(at) and (at < 10).all()
    streams = of_type(pl.velocity(made, kind="stream", show=False), LineCollection)
    assert all((segment < 10).all() for lines in streams for segment in lines.get_segments())


@kinds
def test_without_any_velocity_there_are_cells_and_no_arrows(even, kind):
    ax = pl.velocity(moving(even, [0, 0]), kind=kind, show=False)
    ax.figure.draw_without_rendering()
    assert [type(c) for c in ax.collections] == [PathCollection] and not ax.texts and not ax.patches
    assert len(ax.collections[0].get_offsets()) == 60


@kinds
def test_a_few_cells_that_move_among_many_that_do_not_have_arrows(even, kind):
    v = np.zeros((60, 2))
    v[:2] = [0.3, 0.1]
    ax = pl.velocity(moving(even, v), kind=kind, show=False)
    ax.figure.draw_without_rendering()
    assert of_type(ax, LineCollection if kind == "stream" else Quiver)


@kinds
@pytest.mark.parametrize("n", [2, 3])
def test_a_handful_of_cells_is_drawn(made, kind, n):
    ax = pl.velocity(made[-n:].copy(), kind=kind, show=False)
    ax.figure.draw_without_rendering()
    assert len(of_type(ax, PathCollection)[0].get_offsets()) == n
    assert bool(of_type(ax, Quiver)) == (kind == "arrows")


@kinds
def test_one_time_point_alone_is_drawn(made, kind):
    pl.velocity(made[made.obs["day"] == 1].copy(), kind=kind, show=False).figure.draw_without_rendering()


def test_streams_run_along_the_field_and_are_wider_where_it_is_faster(even):
    x = even.obsm["X_r"]
    v = np.column_stack([1 + (x[:, 0] - 10), 0.5 * (1 + (x[:, 0] - 10))])
    (lines,) = of_type(pl.velocity(moving(even, v), kind="stream", show=False), LineCollection)
    segments, widths = np.asarray(lines.get_segments()), np.asarray(lines.get_linewidths())
    along = segments[:, 1] - segments[:, 0]
    moved = np.linalg.norm(along, axis=1) > 1e-9
    np.testing.assert_allclose(along[moved, 1] / along[moved, 0], 0.5, rtol=1e-3)
    assert (along[moved] > 0).all()
    assert widths[segments[:, 0, 0] > 13].mean() > 1.5 * widths[segments[:, 0, 0] < 11].mean()


@kinds
def test_density_brings_more(made, kind):
    made.obsm["X_r"] = np.random.default_rng(1).uniform(size=(60, 2))
    amount = []
    for density in (0.3, 1.0):
        ax = pl.velocity(moving(made, [0.1, 0.05]), kind=kind, density=density, show=False)
        amount.append(len(ax.patches) if kind == "stream" else len(arrows(ax)[0]))
    assert 0 < amount[0] < amount[1]


@kinds
def test_a_tiny_density_is_drawn(even, kind):
    pl.velocity(even, kind=kind, density=1e-3, show=False).figure.draw_without_rendering()


def test_cells_stay_within_the_axes(even):
    for kind in ("grid", "arrows", "stream"):
        ax = pl.velocity(even, kind=kind, show=False)
        (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
        x = even.obsm["X_r"]
        assert ((x >= [x0, y0]) & (x <= [x1, y1])).all()


def test_size_is_the_area_of_a_cell(even):
    (cells,) = of_type(pl.velocity(even, size=9, show=False), PathCollection)
    assert set(cells.get_sizes()) == {9}
    np.testing.assert_array_equal(np.sort(cells.get_offsets(), axis=0), np.sort(even.obsm["X_r"], axis=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "arrow"}, r"\['grid', 'arrows', 'stream'\], got 'arrow'"),
        ({"density": 0}, "density must be positive, got 0"),
        ({"density": np.nan}, "density must be positive, got nan"),
    ],
)
def test_what_cannot_be_drawn_is_refused(made, unchanged, arguments, message):
    with unchanged(made), pytest.raises(ValueError, match=message):
        pl.velocity(made, **arguments)
    assert plt.get_fignums() == []


def test_streams_leave_a_margin_around_the_cells(made):
    ax = pl.velocity(made, kind="stream", show=False)
    x = made.obsm["X_r"]
    for low, high, (start, stop) in zip(x.min(axis=0), x.max(axis=0), (ax.get_xlim(), ax.get_ylim()), strict=True):
        assert start < low - 0.01 * (high - low) and stop > high + 0.01 * (high - low)
