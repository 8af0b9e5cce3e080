"""Contours of the landscape."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.contour import QuadContourSet

from vgfm_sc import pl
from vgfm_sc.pl import _grid


@pytest.fixture
def even(made):
    """The cells on a lattice and the landscape a plane over it."""
    i, j = np.divmod(np.arange(made.n_obs), 10)
    made.obsm["X_r"] = np.column_stack([i, j]).astype(float)
    made.obs["vgfm_landscape"] = (2.0 * j).astype(np.float32)
    return made


def parts(ax, kind) -> list:
    return [c for c in ax.collections if isinstance(c, kind)]


def contours(ax) -> QuadContourSet:
    (drawn,) = parts(ax, QuadContourSet)
    return drawn


def test_height_is_the_mean_over_the_cells_around(even, monkeypatch):
    asked = {}
    monkeypatch.setattr(_grid, "NEEDED", 0.1)
    monkeypatch.setattr("matplotlib.axes.Axes.contourf", contour_spy(asked))
    pl.landscape(even, show=False)
    surface = asked["surface"]
    middle = surface[4:-4, surface.shape[1] // 2]
    assert (np.diff(middle.compressed()) >= 0).all() and 0 < surface.min() < 4 and 14 < surface.max() < 18


def contour_spy(asked):
    from matplotlib.axes import Axes

    whole = Axes.contourf

    def contourf(ax, x, y, surface, **arguments):
        asked.update(x=x, y=y, surface=surface)
        return whole(ax, x, y, surface, **arguments)

    return contourf


def test_where_there_are_no_cells_it_is_blank(made, monkeypatch):
    asked = {}
    monkeypatch.setattr("matplotlib.axes.Axes.contourf", contour_spy(asked))
    pl.landscape(made, show=False)
    blank = np.ma.getmaskarray(asked["surface"])
    assert blank[-1, 0] and blank[0, -1] and not blank.all()


def test_bar_is_named_and_says_which_time(made):
    assert pl.landscape(made, show=False).figure.axes[-1].get_ylabel() == "-log density"
    made.uns["vgfm"]["landscape"]["time"] = 1.5
    assert pl.landscape(made, show=False).figure.axes[-1].get_ylabel() == "-log density at day = 1.5"


def test_cells_are_small_dots_or_left_out(made):
    ax = pl.landscape(made, na_color="red", show=False)
    (cells,) = parts(ax, PathCollection)
    np.testing.assert_array_equal(cells.get_offsets(), made.obsm["X_r"])
    assert cells.get_zorder() > contours(ax).get_zorder() and cells.get_facecolor()[0, 0] == 1
    (named,) = parts(pl.landscape(made, size=3, cmap="magma", show=False), PathCollection)
    assert set(named.get_sizes()) == {3}
    bare = pl.landscape(made, cells=False, cmap="magma", show=False)
    assert not parts(bare, PathCollection) and contours(bare).get_cmap().name == "magma"


@pytest.mark.parametrize("basis", ["r", "umap"])
def test_trajectories_are_drawn_on_top(made, basis):
    assert not parts(pl.landscape(made, basis, show=False), LineCollection)
    ax = pl.landscape(made, basis, trajectories=True, show=False)
    (lines,) = parts(ax, LineCollection)
    assert len(lines.get_segments()) == 4 * 7 and lines.get_zorder() > contours(ax).get_zorder()


def test_a_flat_landscape_and_cells_without_a_value_are_drawn(made):
    made.obs["vgfm_landscape"] = np.float32(0)
    pl.landscape(made, show=False).figure.draw_without_rendering()
    made.obs.loc[made.obs["day"] == 1, "vgfm_landscape"] = np.nan
    pl.landscape(made, show=False).figure.draw_without_rendering()


def test_without_any_value_it_is_refused(made):
    made.obs["vgfm_landscape"] = np.float32(np.nan)
    with pytest.raises(ValueError, match="missing in all cells"):
        pl.landscape(made)
