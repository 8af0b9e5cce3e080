from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from vgfm_sc import pl

COLORS = {"a": "#ff0000", "b": "#008000", "c": "#0000ff"}


def clouds(ax: Axes) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def segments(ax: Axes) -> LineCollection:
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return lines


def stored(adata) -> dict:
    return adata.uns["vgfm"]["trajectories"]


def line_colors(ax: Axes) -> list[str]:
    """Of each trajectory; all its segments must have it."""
    shades = np.array([to_hex(c) for c in segments(ax).get_colors()]).reshape(4, 7)
    assert (shades == shades[0]).all()
    return shades[0].tolist()


@pytest.mark.parametrize(("basis", "name"), [(None, "positions"), ("r", "positions"), ("umap", "positions_umap")])
def test_there_is_one_segment_for_each_step_and_cell(made, basis, name):
    drawn = np.asarray(segments(pl.trajectories(made, basis, show=False)).get_segments())
    at = stored(made)[name]
    np.testing.assert_allclose(drawn, [[at[k, i], at[k + 1, i]] for k in range(4) for i in range(7)])


def test_width_follows_the_square_root_of_mass_up_to_four_times(made):
    stored(made)["mass"][-1, 0] = 1000
    mass = stored(made)["mass"].astype(float)
    widths = segments(pl.trajectories(made, linewidth=3.0, show=False)).get_linewidths()
    wanted = 3 * np.minimum(np.sqrt((mass[:-1] + mass[1:]) / 2), 4).ravel()
    np.testing.assert_allclose(widths, wanted)
    assert max(widths) == 12


def test_time_colours_span_the_time_points_and_are_named_as_the_users_column(made):
    ax = pl.trajectories(made, cmap="magma", show=False)
    lines = segments(ax)
    assert (lines.norm.vmin, lines.norm.vmax) == (0, 3) and lines.get_cmap().name == "magma"
    shades = np.asarray(lines.get_array()).reshape(4, 7)
    np.testing.assert_allclose(shades, np.broadcast_to([[0.25], [0.75], [1.5], [2.5]], (4, 7)))
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "day"
    behind = clouds(ax)[0]
    np.testing.assert_array_equal(behind.get_array(), np.sort(made.obs["day"]))
    assert behind.get_cmap().name == "magma"


def test_mass_colours_are_the_mass_of_the_step(made):
    mass = stored(made)["mass"].astype(float)
    ax = pl.trajectories(made, color="mass", cmap="magma", na_color="red", show=False)
    lines = segments(ax)
    np.testing.assert_allclose(lines.get_array(), ((mass[:-1] + mass[1:]) / 2).ravel())
    assert (lines.norm.vmin, lines.norm.vmax) == (mass.min(), mass.max()) and lines.get_cmap().name == "magma"
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "mass (1 at the start)"
    assert len(clouds(ax)[0].get_offsets()) == made.n_obs and to_hex(clouds(ax)[0].get_facecolor()[0]) == "#ff0000"


@pytest.mark.parametrize("source", ["palette", "uns"])
def test_labels_colour_lines_by_where_they_end_and_the_cells_by_what_they_are(made, source):
    palette = COLORS if source == "palette" else None
    if source == "uns":
        made.uns["type_colors"] = np.array(["red", "green", "blue"])
    ax = pl.trajectories(made, color="type", palette=palette, show=False)
    codes = stored(made)["labels"]["type"]["codes"][-1]
    assert line_colors(ax) == [COLORS["abc"[k]] for k in codes]
    behind = clouds(ax)[0]
    assert [to_hex(c) for c in behind.get_facecolor()] == [COLORS[c] for c in made.obs["type"]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    assert len(ax.figure.axes) == 1


@pytest.mark.parametrize("palette", [None, COLORS, ["red", "green", "blue"], "Set1"])
def test_fates_colour_lines_by_the_likeliest_of_the_cell_they_start_from(made, palette):
    """In the colours that cells of these types have, although not every type is a fate."""
    fate = made.obsm["vgfm_fate"]
    ax = pl.trajectories(made, color="fate", palette=palette, show=False)
    behind = clouds(ax)[0]
    of_type = dict(zip(made.obs["type"], map(to_hex, behind.get_facecolor()), strict=True))
    likeliest = fate.loc[stored(made)["cells"]].idxmax(axis=1)
    assert line_colors(ax) == [of_type[name] for name in likeliest] and likeliest.nunique() == 2
    named = pl.trajectories(made, color="fate", palette=palette, cells=False, show=False).get_legend()
    assert [text.get_text() for text in named.get_texts()] == ["b", "c"]
    assert [handle.get_color() for handle in named.legend_handles] == pytest.approx(
        [pl._colors.of_categories(made, "type", ["a", "b", "c"], palette)[name] for name in "bc"]
    )


def test_fates_follow_the_names_of_the_cells(made):
    before = line_colors(pl.trajectories(made, color="fate", show=False))
    shuffled = made[np.random.default_rng(0).permutation(60)].copy()
    assert line_colors(pl.trajectories(shuffled, color="fate", show=False)) == before


@pytest.mark.parametrize("change", ["gone", "twice"])
def test_fates_of_cells_that_cannot_be_found_are_refused(made, unchanged, change):
    few = made[7:].copy() if change == "gone" else made.copy()
    if change == "twice":
        few.obs_names = ["cell0", "cell0", *few.obs_names[2:]]
    with unchanged(few), pytest.raises(ValueError, match="not in adata, or their names are not unique"):
        pl.trajectories(few, color="fate")
    assert plt.get_fignums() == []


def test_a_column_named_fate_goes_before_probabilities(made):
    made.obs["fate"] = made.obs["type"]
    stored(made)["labels"]["fate"] = stored(made)["labels"]["type"]
    assert line_colors(pl.trajectories(made, color="fate", show=False)) == line_colors(
        pl.trajectories(made, color="type", show=False)
    )


def test_starts_are_rings_and_ends_dots_with_the_area_of_their_mass(made):
    ax = pl.trajectories(made, show=False)
    _, starts, ends = clouds(ax)
    np.testing.assert_allclose(starts.get_offsets(), stored(made)["positions"][0])
    np.testing.assert_allclose(ends.get_offsets(), stored(made)["positions"][-1])
    areas, mass = ends.get_sizes(), np.minimum(stored(made)["mass"][-1], 16)
    np.testing.assert_allclose(areas / areas[0], mass / mass[0], rtol=1e-6)
    assert len(set(starts.get_sizes())) == 1 and areas[0] / mass[0] == pytest.approx(starts.get_sizes()[0])
    assert to_hex(starts.get_facecolor()[0]) == "#ffffff" and to_hex(ends.get_facecolor()[0]) == "#000000"


def test_cells_behind_can_be_left_out_or_coloured_otherwise(made):
    assert len(clouds(pl.trajectories(made, cells=False, show=False))) == 2
    ax = pl.trajectories(made, color="type", cells="g0", show=False)
    np.testing.assert_array_equal(clouds(ax)[0].get_array(), np.sort(made.X[:, 0]))
    assert {other.get_ylabel() for other in ax.figure.axes if other is not ax} == {"g0"}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]


def test_everything_drawn_lies_within_the_axes(made):
    ax = pl.trajectories(made, cells=False, show=False)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    positions = stored(made)["positions"].reshape(-1, 2)
    assert ((positions > [x0, y0]) & (positions < [x1, y1])).all()


def test_backward_trajectories_are_drawn(made):
    stored(made)["times"] = stored(made)["times"][::-1]
    shades = np.asarray(segments(pl.trajectories(made, show=False)).get_array()).reshape(4, 7)
    np.testing.assert_allclose(shades[:, 0], [2.5, 1.5, 0.75, 0.25])


def test_cells_that_divide_and_die_are_drawn(made):
    """The last column is born late, the first dies at once."""
    stored(made)["mass"][:] = 1
    stored(made)["mass"][1:, 0] = stored(made)["mass"][:3, -1] = 0
    made.uns["vgfm"]["trajectories"] |= {"parent": np.array([-1] * 6 + [2]), "n_start": 6}
    ax = pl.trajectories(made, color="mass", show=False)
    ax.figure.draw_without_rendering()
    widths = segments(ax).get_linewidths()
    np.testing.assert_allclose(np.asarray(widths).reshape(4, 7)[:, 0], [np.sqrt(0.5), 0, 0, 0])


def test_labels_that_no_trajectory_carries_list_those_there_are(made):
    with pytest.raises(KeyError, match=r"no labels 'batch', only \['type'\].*vgfm_sc\.tl\.annotate\(adata, 'batch'"):
        pl.trajectories(made, color="batch")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("cells", [True, "day", False])
def test_numbers_colour_along_the_line_on_the_scale_of_the_cells(made, cells):
    ax = pl.trajectories(made, color="g1", cells=cells, show=False)
    values = stored(made)["values"]["values"][:, :, 1].astype(float)
    lines = segments(ax)
    np.testing.assert_allclose(lines.get_array(), ((values[:-1] + values[1:]) / 2).ravel())
    scale = made[:, "g1"].X if cells is True else values
    np.testing.assert_allclose((lines.norm.vmin, lines.norm.vmax), (scale.min(), scale.max()))
    names = [other.get_ylabel() for other in ax.figure.axes if other is not ax]
    assert names == (["day", "g1"] if cells == "day" else ["g1"])
    if cells is True:
        np.testing.assert_allclose(clouds(ax)[0].get_array(), np.sort(made[:, "g1"].X.ravel()))


def test_a_number_is_no_label(made):
    with pytest.raises(KeyError, match="no labels 'g1', only .*It is a number; name a column of labels"):
        pl.dynamics(made, color="g1")
