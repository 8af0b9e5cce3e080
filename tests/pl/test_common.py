"""What every plot does."""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from vgfm_sc import pl
from vgfm_sc.pl import _axes

PANELS = {
    "clones": 4,
    "compare": 4,
    "dynamics": 4,
    "fate": 2,
    "genes": 2,
    "loss": 3,
    "perturb": 4,
    "screen": 3,
    "snapshots": 6,
    "uncertainty": 2,
}
"""Axes of plots that return a list."""

ON_BASIS = [
    "compare",
    "dynamics",
    "fate",
    "growth",
    "landscape",
    "perturb",
    "snapshots",
    "trajectories",
    "uncertainty",
    "velocity",
]

PLACED = {"compare": 1, "dynamics": 3, "perturb": 2}
"""First axes of plots of which the others are not on the basis."""

STILL = [name for name in pl.__all__ if name != "animate"]

every = pytest.mark.parametrize("name", STILL)
parts = pytest.mark.parametrize("name", [name for name in STILL if name != "dynamics"])  # which takes long
on_basis = pytest.mark.parametrize("name", ON_BASIS)
parts_on_basis = pytest.mark.parametrize("name", [name for name in ON_BASIS if name != "dynamics"])


def draw(name: str, *args, **arguments):
    return getattr(pl, name)(*args, **arguments)


def listed(drawn: Axes | list[Axes]) -> list[Axes]:
    return [drawn] if isinstance(drawn, Axes) else drawn


def clouds(ax: Axes) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection)]


@pytest.fixture(scope="module")
def plain() -> dict:
    """The pixels of the plots of `made`, drawn once."""
    return {}


@pytest.fixture
def wanted(made, plain, picture, name) -> np.ndarray:
    if name not in plain:
        plain[name] = picture(name, made)
    return plain[name]


@every
def test_not_shown_axes_are_returned_and_their_figure_is_current(made, shown, unchanged, same_random_state, name):
    with unchanged(made):
        drawn = draw(name, made, show=False)
    if name in PANELS:
        assert isinstance(drawn, list) and len(drawn) == PANELS[name]
    assert all(isinstance(ax, Axes) and ax.has_data() for ax in listed(drawn))
    assert plt.get_fignums() == [1] and {ax.figure for ax in listed(drawn)} == {plt.gcf()} and shown == []


@every
def test_return_fig_returns_the_figure_and_pyplot_does_not_keep_it(made, shown, name):
    fig = draw(name, made, return_fig=True, show=True)  # the figure, whatever show is
    assert isinstance(fig, Figure) and len(fig.axes) >= PANELS.get(name, 1) and fig.get_suptitle() == ""
    assert plt.get_fignums() == [] and shown == []


@every
def test_given_axes_are_drawn_into_and_stay_open(made, shown, name):
    fig, (left, right) = plt.subplots(ncols=2)
    others, place = left.get_children(), right.get_position()
    drawn = draw(name, made, ax=right, title="mine")
    if name in PANELS:
        assert len(drawn) == PANELS[name] and all(ax.figure is fig for ax in drawn)
    else:
        assert drawn is right
    fig.draw_without_rendering()
    assert left.get_children() == others and not left.has_data()
    assert right.get_title() == "mine" and fig.get_suptitle() == ""
    corners = np.concatenate([ax.get_position().get_points() for ax in fig.axes if ax is not left])
    assert (corners >= place.min - 1e-6).all() and (corners <= place.max + 1e-6).all()
    assert plt.get_fignums() == [fig.number] and shown == []


@parts
def test_the_figure_of_given_axes_is_returned_and_stays_open(made, name):
    fig, ax = plt.subplots()
    assert draw(name, made, ax=ax, return_fig=True) is fig
    assert plt.get_fignums() == [fig.number]


@every
def test_figures_are_shown_once_unless_told_otherwise(made, shown, name, monkeypatch):
    monkeypatch.delitem(sys.modules, "scanpy", raising=False)
    assert draw(name, made) is None
    assert shown == [[1]]


@every
def test_the_title_stands_above(made, name):
    fig = draw(name, made, title="mine", return_fig=True)
    above = fig.get_suptitle() if name in PANELS else fig.axes[0].get_title()
    assert above == "mine"


@on_basis
def test_axes_are_named_as_the_basis_without_ticks(made, name):
    outer = listed(draw(name, made, show=False))
    outer = outer[3:4] if name == "snapshots" else outer[: PLACED.get(name)]
    for ax in outer:
        assert ax.get_xlabel() == "r1" and ax.get_ylabel().split("\n")[-1] == "r2"
        assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0 and ax.axison


@every
def test_the_frame_can_be_left_out(made, name):
    for k, ax in enumerate(listed(draw(name, made, frameon=False, show=False))):
        if name in ON_BASIS and k < PLACED.get(name, 9):
            assert not ax.axison
        else:
            assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible() and ax.axison


@pytest.mark.parametrize(("name", "basis"), [*((name, "umap") for name in ON_BASIS), ("growth", "X_umap")])
def test_another_basis_is_drawn_on(made, name, basis):
    axes = listed(draw(name, made, basis, show=False))[: PLACED.get(name)]
    assert "UMAP1" in {ax.get_xlabel() for ax in axes}
    for ax in axes:
        cells = max(clouds(ax), key=lambda cloud: len(cloud.get_offsets()))
        drawn, wanted = np.asarray(cells.get_offsets()), made.obsm["X_umap"]
        assert len(drawn) and np.isin(np.round(drawn, 9), np.round(wanted, 9)).all()


@parts_on_basis
def test_an_axis_may_be_constant(made, picture, name):
    made.obsm["X_umap"][:, 1] = 2
    made.obsm["vgfm_velocity_umap"][:, 1] = 0
    made.uns["vgfm"]["trajectories"]["positions_umap"][..., 1] = 2
    for run in ("positions_umap", "positions_changed_umap"):
        made.uns["vgfm"]["perturbations"]["g0+g1"][run][..., 1] = 2
    picture(name, made, "umap")


@parts
def test_one_cell_of_each_time_point_is_drawn(made, picture, name):
    picture(name, made[[0, 10, 30]].copy())


@parts_on_basis
def test_many_cells_become_an_image_in_vector_files(made, name, monkeypatch):
    def images() -> set[bool]:
        axes = listed(draw(name, made, show=False))
        return {bool(c.get_rasterized()) for ax in axes for c in clouds(ax) if len(c.get_offsets()) > 7}

    monkeypatch.setattr(_axes, "RASTER_CELLS", made.n_obs - 1)
    assert images() == {True}
    if name == "growth":
        monkeypatch.setattr(_axes, "RASTER_CELLS", made.n_obs)
        assert images() == {False}


@parts
def test_another_key_is_read(made, wanted, picture, name):
    with pytest.raises(KeyError, match=r"uns\['other_holdout'\]" if name == "holdout" else r"'other'.*key=\['vgfm'\]"):
        draw(name, made, key="other")
    assert plt.get_fignums() == []
    for slot in (made.uns, made.obsm, made.obs):
        for old in [k for k in slot if k.startswith("vgfm")]:
            slot[old.replace("vgfm", "mine")] = slot[old]
            del slot[old]
    np.testing.assert_array_equal(picture(name, made, key="mine"), wanted)


@pytest.mark.parametrize("name", ["velocity", "mass", "snapshots"])
@pytest.mark.parametrize("kind", ["strings", "labels"])
def test_times_may_be_text(made, wanted, picture, name, kind):
    """Categories of numeric strings; or of labels, which the fit was told the meaning of."""
    labels = {0.0: "start", 1.0: "E1", 3.0: "E3"} if kind == "labels" else {0.0: "0", 1.0: "1.0", 3.0: "3"}
    made.obs["day"] = made.obs["day"].map(labels).astype("category")
    if kind == "labels":
        made.uns["vgfm"]["params"] |= {
            "time_map_labels": np.array(list(labels.values())),
            "time_map_values": np.array(list(labels)),
        }
    np.testing.assert_array_equal(picture(name, made), wanted)


@parts
def test_on_dark_paper_everything_can_be_seen(made, name):
    def apart(color) -> bool:
        return bool(np.abs(np.subtract(to_rgb(color), paper)).max() > 0.2)

    with plt.style.context("dark_background"):
        fig = draw(name, made, return_fig=True)
        fig.draw_without_rendering()
        for ax in fig.axes:
            paper = to_rgb(ax.get_facecolor())
            assert paper == (0, 0, 0)
            assert all(apart(text.get_color()) for text in ax.findobj(Text) if text.get_text())
            for line in ax.findobj(Line2D):
                assert apart(line.get_color()) or apart(line.get_markerfacecolor()) or apart(line.get_markeredgecolor())
            for drawn in (c for c in ax.collections if isinstance(c, Collection)):
                faces, edges = drawn.get_facecolor(), drawn.get_edgecolor()
                assert all(map(apart, faces)) if not len(edges) else all(map(apart, edges)) or all(map(apart, faces))


@parts_on_basis
def test_a_fit_to_genes_is_drawn_on_the_first_two(made, name):
    del made.uns["vgfm"]["params"]["use_rep"], made.obsm["vgfm_velocity_r"]
    made.uns["vgfm"]["params"]["genes"] = np.array(["g2", "g0", "g1"])
    made.uns["vgfm"]["scaling"]["centre"] = np.zeros(3)
    rng = np.random.default_rng(0)
    made.obsm["vgfm_velocity_genes"] = rng.normal(size=(60, 3)).astype(np.float32)
    made.uns["vgfm"]["trajectories"]["positions"] = rng.gamma(1.0, size=(5, 7, 3)).astype(np.float32)
    ax = listed(draw(name, made, show=False))[0]
    cells = np.concatenate([c.get_offsets() for c in clouds(ax)])
    assert np.isin(made.X[:, [2, 0]], cells).all()
