"""Growth, and how far an ensemble is apart."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from vgfm_sc import pl
from vgfm_sc.pl import _growth, _uncertainty


def clouds(ax: Axes) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def growth_of(adata) -> np.ndarray:
    return adata.obs["vgfm_growth"].to_numpy(dtype=float)


def test_every_cell_is_coloured_by_its_growth_centred_on_0(made):
    ax = pl.growth(made, show=False)
    (cells,) = clouds(ax)
    np.testing.assert_array_equal(cells.get_array(), growth_of(made))
    np.testing.assert_array_equal(cells.get_offsets(), made.obsm["X_r"])
    assert cells.norm(0.0) == 0.5 and cells.norm.vmin == -cells.norm.vmax
    assert cells.norm.vmax == pytest.approx(np.quantile(np.abs(growth_of(made)), _growth.CLIP))
    assert cells.get_cmap().name == "coolwarm"
    assert ax.figure.axes[-1].get_ylabel() == "growth rate (per unit of day)"


def test_growth_takes_size_and_map(made):
    (cells,) = clouds(pl.growth(made, size=9, cmap="PuOr", show=False))
    assert set(cells.get_sizes()) == {9} and cells.get_cmap().name == "PuOr"


def test_growth_0_everywhere_is_drawn_in_the_middle_colour(made):
    made.obs["vgfm_growth"] = np.float32(0)
    ax = pl.growth(made, show=False)
    ax.figure.draw_without_rendering()
    assert set(clouds(ax)[0].norm(np.zeros(3))) == {0.5}


def test_a_panel_for_each_time_point_has_its_cells_before_the_others(made):
    axes = pl.growth(made, by_time=True, na_color="red", show=False)
    assert isinstance(axes, list)
    assert [ax.get_title() for ax in axes] == ["day = 0", "day = 1", "day = 3"]
    for ax, time in zip(axes, (0, 1, 3), strict=True):
        here = (made.obs["day"] == time).to_numpy()
        others, cells = clouds(ax)
        np.testing.assert_array_equal(others.get_offsets(), made.obsm["X_r"][~here])
        np.testing.assert_allclose(others.get_facecolor(), [[1, 0, 0, 0.3]])
        np.testing.assert_array_equal(cells.get_offsets(), made.obsm["X_r"][here])
        np.testing.assert_array_equal(cells.get_array(), growth_of(made)[here])
        assert cells.norm.vmax == pytest.approx(np.quantile(np.abs(growth_of(made)), _growth.CLIP))
        assert ax.get_xlim() == axes[0].get_xlim() and ax.get_ylim() == axes[0].get_ylim()
    assert len(axes[0].figure.axes) == 4  # and one bar for all
    assert pl.growth(made, by_time=True, title="mine", show=False)[0].get_title() == "mine, day = 0"


def test_panels_by_time_take_the_place_of_given_axes(made):
    fig, (left, right) = plt.subplots(ncols=2)
    axes = pl.growth(made, by_time=True, ax=right)
    assert len(axes) == 3 and all(ax.figure is fig and ax is not right for ax in axes) and not left.has_data()
    assert pl.growth(made, by_time=True, ax=plt.subplots()[1], return_fig=True) is plt.gcf()


def test_a_time_point_that_was_dropped_has_no_panel(made):
    axes = pl.growth(made[made.obs["day"] != 1].copy(), by_time=True, show=False)
    assert [ax.get_title() for ax in axes] == ["day = 0", "day = 3"]


def test_many_time_points_go_in_several_rows(made):
    made.obs["day"] = np.arange(60) // 10 * 1.0
    made.uns["vgfm"]["time_points"] = np.arange(6.0)
    fig = pl.growth(made, by_time=True, return_fig=True)
    places = [ax.get_subplotspec() for ax in fig.axes[:6]]
    assert places[0].get_gridspec().get_geometry() == (2, 3)
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [
        (r, c) for r in (0, 1) for c in (0, 1, 2)
    ]


def test_without_growth_the_call_to_make_is_named(made):
    del made.obs["vgfm_growth"]
    with pytest.raises(KeyError, match=r"obs\['vgfm_growth'\].*vgfm_sc\.tl\.fit"):
        pl.growth(made)


def test_uncertainty_draws_the_spread_of_growth_and_of_velocity_from_0(made):
    axes = pl.uncertainty(made, cmap="magma", size=4, show=False)
    assert [ax.get_title() for ax in axes] == ["growth", "velocity"]
    for ax, name in zip(axes, ("growth", "velocity"), strict=True):
        values = made.obs[f"vgfm_{name}_sd"].to_numpy(dtype=float)
        (cells,) = clouds(ax)
        order = np.argsort(values)
        np.testing.assert_array_equal(cells.get_array(), values[order])  # the least certain on top
        np.testing.assert_array_equal(cells.get_offsets(), made.obsm["X_r"][order])
        assert cells.norm.vmin == 0 and cells.norm.vmax == pytest.approx(np.quantile(values, _uncertainty.CLIP))
        assert cells.get_cmap().name == "magma" and set(cells.get_sizes()) == {4}
    bars = [ax.get_ylabel() for ax in axes[0].figure.axes[2:]]
    assert bars[0] == "standard deviation (per unit of day)" and bars[1].endswith("(per unit of day)")


def test_uncertainty_draws_the_error_bar_of_growth_where_there_is_one(made):
    error = np.random.default_rng(0).random(made.n_obs)
    made.obs["vgfm_growth_error"] = error.astype(np.float32)
    axes = pl.uncertainty(made, show=False)
    np.testing.assert_allclose(clouds(axes[0])[0].get_array(), np.sort(error), rtol=1e-6)
    np.testing.assert_array_equal(clouds(axes[1])[0].get_array(), np.sort(made.obs["vgfm_velocity_sd"]))
    assert axes[0].figure.axes[2].get_ylabel() == "error bar (per unit of day)"


def test_models_that_agree_are_drawn(made):
    made.obs["vgfm_growth_sd"] = np.float32(0)
    axes = pl.uncertainty(made, show=False)
    axes[0].figure.draw_without_rendering()
    assert set(clouds(axes[0])[0].norm(np.zeros(3))) == {0}


@pytest.mark.parametrize("name", ["growth", "velocity"])
def test_a_fit_of_one_model_has_no_uncertainty(made, name):
    del made.obs[f"vgfm_{name}_sd"]
    with pytest.raises(KeyError, match=rf"lacks \['vgfm_{name}_sd'\].*one model.*vgfm_sc\.tl\.fit\(.*n_models=5\)"):
        pl.uncertainty(made)
