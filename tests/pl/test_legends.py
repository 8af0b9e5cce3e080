from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.legend import Legend

from vgfm_sc import pl


def extents(fig, artists) -> list:
    fig.draw_without_rendering()
    return [artist.get_window_extent() for artist in artists]


def test_the_right_margin_is_beside_the_axes(made):
    ax = pl.velocity(made, color="type", legend_loc="right margin", show=False)
    inside, outside = extents(ax.figure, [ax, ax.get_legend()])
    assert outside.x0 >= inside.x1 and outside.x1 <= ax.figure.bbox.x1


def test_a_place_of_matplotlib_is_within(made):
    ax = pl.velocity(made, color="type", legend_loc="upper left", show=False)
    axes, legend = extents(ax.figure, [ax, ax.get_legend()])
    assert axes.x0 <= legend.x0 and legend.x1 <= axes.x1 and legend.y1 <= axes.y1


@pytest.mark.parametrize("loc", [None, "none"])
@pytest.mark.parametrize("name", ["velocity", "fate", "genes", "mass", "snapshots", "holdout", "trajectories"])
def test_names_can_be_left_out(made, name, loc):
    arguments = {"fate": {"kind": "bar"}, "holdout": {}}.get(name, {"color": "type"})
    drawn = getattr(pl, name)(made, legend_loc=loc, show=False, **arguments)
    for ax in drawn if isinstance(drawn, list) else [drawn]:
        assert ax.get_legend() is None and all(text.get_text().startswith("arrows span") for text in ax.texts)


@pytest.mark.parametrize("draw", [pl.velocity, pl.trajectories])
def test_on_the_data_names_stand_at_the_median_of_their_cells(made, draw):
    made.obs["type"] = made.obs["type"].where(made.obs["type"] != "b").cat.set_categories(["b", "c", "a"])
    ax = draw(made, color="type", legend_loc="on data", show=False)
    found = {text.get_text(): text.get_position() for text in ax.texts if not text.get_text().startswith("arrows")}
    assert set(found) == {"a", "c"}
    for name, at in found.items():
        np.testing.assert_allclose(at, np.median(made.obsm["X_r"][made.obs["type"] == name], axis=0))


@pytest.mark.parametrize("name", ["fate", "genes", "mass", "holdout", "snapshots"])
def test_without_cells_to_stand_on_names_stand_beside(made, name):
    arguments = {"fate": {"kind": "bar"}, "holdout": {}}.get(name, {"color": "type"})
    drawn = getattr(pl, name)(made, legend_loc="on data", show=False, **arguments)
    axes = drawn if isinstance(drawn, list) else [drawn]
    (legend,) = [ax.get_legend() for ax in axes if ax.get_legend() is not None]
    wanted = {"fate": ["b", "c"], "holdout": ["vgfm", "otcfm", "linear"]}.get(name, ["a", "b", "c"])
    assert {text.get_text() for text in legend.get_texts()} <= set(wanted)
    if name != "genes":  # where no trajectory may end as one of them
        assert [text.get_text() for text in legend.get_texts()] == wanted


def test_what_the_legend_of_given_axes_names_stays_named(made):
    _, ax = plt.subplots()
    ax.plot([0], [0], label="mine", color="red")
    ax.legend()
    for _ in range(2):
        pl.velocity(made, color="type", ax=ax)
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mine", "a", "b", "c"]
    assert ax.get_legend().legend_handles[0].get_color() == "red"


def test_starts_and_ends_are_explained_below_the_axes(made):
    ax = pl.trajectories(made, color="type", show=False)
    (marks,) = [child for child in ax.get_children() if isinstance(child, Legend) and child is not ax.get_legend()]
    assert [text.get_text() for text in marks.get_texts()] == ["start", "end"]
    axes, name, area = extents(ax.figure, [ax, ax.xaxis.label, marks])
    assert area.y1 < axes.y0 and not area.overlaps(name) and area.y0 >= 0


@pytest.mark.parametrize("arguments", [{"color": "type", "cells": "batch"}, {"color": "mass", "cells": "batch"}])
def test_legends_and_colour_bars_do_not_cover_each_other(made, arguments):
    made.obs["batch"] = pd.Categorical([f"batch {k % 9}" for k in range(made.n_obs)])
    ax = pl.trajectories(made, **arguments, show=False)
    boxes = [child for child in ax.get_children() if isinstance(child, Legend)]
    bars = [other for other in ax.figure.axes if other is not ax]
    assert "batch 8" in [text.get_text() for legend in boxes for text in legend.get_texts()]
    areas = extents(ax.figure, [ax, *boxes, *bars])
    assert not any(a.overlaps(b) for k, a in enumerate(areas) for b in areas[:k])
