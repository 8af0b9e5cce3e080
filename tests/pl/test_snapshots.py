from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from vgfm_sc import pl

COLORS = {"a": "#ff0000", "b": "#008000", "c": "#0000ff"}
TITLES = ["energy -0.012 (floor 0.05)\nspread 0.90", "energy 0.12 (floor 0.057)\nspread 1.01"]
"""Of simulated cells at days 1 and 3."""

STEPS = [0, 2, 4]
"""Of the trajectories at days 0, 1 and 3."""


def clouds(ax: Axes) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def stored(adata) -> dict:
    return adata.uns["vgfm"]["trajectories"]


@pytest.mark.parametrize(("basis", "rep", "name"), [(None, "X_r", "positions"), ("umap", "X_umap", "positions_umap")])
def test_observed_cells_are_above_and_simulated_below(made, basis, rep, name):
    axes = pl.snapshots(made, basis, show=False)
    above, below = axes[:3], axes[3:]
    assert [ax.get_title() for ax in above] == ["day = 0", "day = 1", "day = 3"]
    for ax, time in zip(above, (0, 1, 3), strict=True):
        others, cells = clouds(ax)
        np.testing.assert_array_equal(others.get_offsets(), made.obsm[rep])
        np.testing.assert_array_equal(cells.get_offsets(), made.obsm[rep][made.obs["day"] == time])
    for ax, k in zip(below, STEPS, strict=True):
        others, cells = clouds(ax)
        np.testing.assert_array_equal(others.get_offsets(), made.obsm[rep])
        np.testing.assert_allclose(cells.get_offsets(), stored(made)[name][k])
    assert above[0].get_ylabel().startswith("observed") and below[0].get_ylabel().startswith("simulated")
    assert all(ax.get_xlim() == axes[0].get_xlim() and ax.get_ylim() == axes[0].get_ylim() for ax in axes)


def test_the_area_of_a_simulated_cell_is_its_mass(made):
    stored(made)["mass"][4, 0] = 1000
    for ax, k in zip(pl.snapshots(made, show=False)[3:], STEPS, strict=True):
        areas, mass = clouds(ax)[1].get_sizes(), stored(made)["mass"][k]
        np.testing.assert_allclose(areas / areas[1], np.minimum(mass, 12) / mass[1], rtol=1e-6)


def test_observed_cells_take_a_size(made):
    for ax in pl.snapshots(made, size=7, show=False)[:3]:
        assert {float(area) for cloud in clouds(ax) for area in cloud.get_sizes()} == {7.0}


def test_titles_give_energy_and_spread_once_they_have_been_measured(made):
    assert [ax.get_title() for ax in pl.snapshots(made, show=False)[3:]] == ["", *TITLES]
    del made.uns["vgfm"]["evaluation"]
    assert [ax.get_title() for ax in pl.snapshots(made, show=False)[3:]] == ["", "", ""]


def test_titles_give_w1_where_scores_of_an_earlier_version_have_no_other(made):
    table = made.uns["vgfm"]["evaluation"]
    made.uns["vgfm"]["evaluation"] = table.drop(columns=["energy", "energy_floor", "spread"])
    assert [ax.get_title() for ax in pl.snapshots(made, show=False)[3:]] == ["", "W1 = 0.500", "W1 = 0.123"]


def test_titles_of_neighbours_do_not_meet(made):
    fig = pl.snapshots(made, "umap", return_fig=True)
    fig.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in fig.axes[4:]]
    assert len(boxes) == 2 and boxes[0].x1 < boxes[1].x0


def test_scores_are_those_of_evaluate(written):
    table = written.uns["vgfm"]["evaluation"]
    titles = [ax.get_title() for ax in pl.snapshots(written, show=False)[5:]]
    wanted = [f"energy {e:.2g} (floor {f:.2g})\nspread {s:.2f}" for e, f, s in table.to_numpy()[:, 1:4]]
    assert titles == ["", *wanted]


def test_labels_colour_both(made):
    made.obs["type"] = made.obs["type"].where(np.arange(60) % 5 > 0)
    axes = pl.snapshots(made, color="type", palette=COLORS, na_color="black", show=False)
    codes = stored(made)["labels"]["type"]["codes"]
    for column, (time, k) in enumerate(zip((0, 1, 3), STEPS, strict=True)):
        above, below = (clouds(axes[row + column])[1] for row in (0, 3))
        wanted = [COLORS.get(name, "#000000") for name in made.obs["type"][made.obs["day"] == time]]
        assert [to_hex(c) for c in above.get_facecolor()] == wanted
        assert [to_hex(c) for c in below.get_facecolor()] == [COLORS["abc"[code]] for code in codes[k]]
    (legend,) = [ax.get_legend() for ax in axes if ax.get_legend() is not None]
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]


def test_time_points_that_trajectories_do_not_reach_have_no_panels(made):
    stored(made)["times"] = np.array([1.0, 1.5, 2.0, 2.5, 3.0])
    axes = pl.snapshots(made, show=False)
    assert [ax.get_title() for ax in axes] == ["day = 1", "day = 3", *TITLES]
    np.testing.assert_allclose(clouds(axes[2])[1].get_offsets(), stored(made)["positions"][0])


def test_time_points_that_were_dropped_have_no_panels(made):
    axes = pl.snapshots(made[made.obs["day"] != 1].copy(), show=False)
    assert [ax.get_title() for ax in axes] == ["day = 0", "day = 3", "", TITLES[1]]


def test_times_need_to_be_met_only_up_to_single_precision(made):
    stored(made)["times"] = stored(made)["times"].astype(np.float32) * np.float32(1 + 1e-7)
    assert len(pl.snapshots(made, show=False)) == 6


def test_backward_trajectories_are_compared_as_well(made):
    stored(made)["times"] = stored(made)["times"][::-1]
    axes = pl.snapshots(made, show=False)
    assert [ax.get_title() for ax in axes[:3]] == ["day = 0", "day = 1", "day = 3"]
    np.testing.assert_allclose(clouds(axes[3])[1].get_offsets(), stored(made)["positions"][4])


def test_trajectories_that_miss_the_time_points_are_refused(made, unchanged):
    stored(made)["times"] = np.array([0.0, 0.3, 0.6, 0.9, 1.2])
    with (
        unchanged(made),
        pytest.raises(ValueError, match=r"\[0\.0, 1\.0, 3\.0\].*vgfm_sc\.tl\.simulate\(.*without times"),
    ):
        pl.snapshots(made)
    assert plt.get_fignums() == []


def test_without_a_frame_rows_are_still_named(made):
    axes = pl.snapshots(made, frameon=False, show=False)
    assert [ax.texts[0].get_text() for ax in (axes[0], axes[3])] == ["observed", "simulated"]


def test_dead_cells_have_no_area(made):
    stored(made)["mass"][4] = [0, 1, 1, 1, 1, 1, 1]
    assert clouds(pl.snapshots(made, show=False)[5])[1].get_sizes()[0] == 0


def test_scores_on_an_embedding_name_the_space_they_are_measured_in(made):
    titles = [ax.get_title() for ax in pl.snapshots(made, "umap", show=False)]
    assert titles[-2:] == [f"{title} (in r)" for title in TITLES]
