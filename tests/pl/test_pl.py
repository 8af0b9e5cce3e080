from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from vgfm_sc import pl

both = pytest.mark.parametrize("draw", [pl.growth, pl.trajectories])


@pytest.fixture
def shown(monkeypatch) -> list:
    calls = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.get_fignums()))
    return calls


def of_type(ax: Axes, kind: type) -> list:
    return [c for c in ax.collections if isinstance(c, kind)]


def colour_bar(fig: Figure) -> Axes:
    return fig.axes[-1]


# what every plot does


@both
def test_axes_are_returned_and_no_figure_stays_open(simulated, shown, draw):
    assert isinstance(draw(simulated), Axes)
    assert plt.get_fignums() == [] and shown == []


@both
def test_return_fig_returns_the_figure_and_leaves_none_open(simulated, shown, draw):
    fig = draw(simulated, return_fig=True)
    assert isinstance(fig, Figure) and len(fig.axes) == 2
    assert plt.get_fignums() == [] and shown == []


@both
def test_given_axes_are_drawn_into_and_stay_open(simulated, shown, draw):
    fig, axes = plt.subplots(ncols=2)
    assert draw(simulated, ax=axes[1]) is axes[1]
    assert draw(simulated, ax=axes[1], return_fig=True) is fig
    assert not axes[0].has_data() and axes[1].has_data()
    assert plt.get_fignums() == [fig.number] and shown == []


@both
def test_show_shows_and_returns_nothing(simulated, shown, draw):
    assert draw(simulated, show=True) is None
    assert len(shown) == 1 and len(shown[0]) == 1


@both
def test_interactive_sessions_show_unless_told_otherwise(simulated, shown, draw, monkeypatch):
    monkeypatch.setattr(plt, "isinteractive", lambda: True)
    assert draw(simulated) is None and len(shown) == 1
    assert isinstance(draw(simulated, show=False), Axes) and len(shown) == 1
    assert isinstance(draw(simulated, ax=plt.figure().gca()), Axes) and len(shown) == 1


@both
def test_a_figure_can_be_rendered(simulated, draw, tmp_path):
    for name in ("a.png", "a.pdf"):
        draw(simulated, return_fig=True).savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 2000


@both
def test_adata_stays_as_it_was(simulated, unchanged, same_random_state, draw):
    with unchanged(simulated):
        draw(simulated)


@both
def test_axes_are_named_as_the_basis_without_ticks(simulated, draw):
    ax = draw(simulated, title="mine")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("genes1", "genes2", "mine")
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0 and ax.axison


@both
def test_frame_can_be_left_out_and_the_title_stays(simulated, draw):
    ax = draw(simulated, frameon=False, title="mine")
    assert not ax.axison and ax.get_title() == "mine"


@both
def test_without_a_fit_the_call_to_make_is_named(unfitted, draw):
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.fit"):
        draw(unfitted)
    assert plt.get_fignums() == []


@both
def test_other_keys_are_looked_for(simulated, draw):
    with pytest.raises(KeyError, match=r"uns\['other'\].*key=\['vgfm'\]"):
        draw(simulated, key="other")


# growth


def test_growth_colours_every_cell_by_its_growth_centred_on_0(simulated):
    (cells,) = of_type(pl.growth(simulated), PathCollection)
    np.testing.assert_array_equal(cells.get_array(), simulated.obs["vgfm_growth"].astype(float))
    np.testing.assert_allclose(cells.get_offsets(), simulated.obsm["X_genes"])
    assert cells.norm(0.0) == 0.5 and cells.norm.vmin == -cells.norm.vmax
    assert cells.norm.vmax == pytest.approx(np.quantile(abs(simulated.obs["vgfm_growth"]), 0.99))


def test_growth_names_its_unit(simulated):
    fig = pl.growth(simulated, return_fig=True)
    assert colour_bar(fig).get_ylabel() == "growth rate (per unit of time)"


def test_growth_can_be_drawn_on_another_basis_with_size_and_map(simulated):
    adata = simulated.copy()
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 3)).astype(np.float32)
    ax = pl.growth(adata, "umap", size=9, cmap="PuOr")
    (cells,) = of_type(ax, PathCollection)
    np.testing.assert_allclose(cells.get_offsets(), adata.obsm["X_umap"][:, :2])
    assert ax.get_xlabel() == "umap1"
    assert set(cells.get_sizes()) == {9} and cells.get_cmap().name == "PuOr"


def test_growth_0_everywhere_is_drawn_in_the_middle_colour(simulated):
    adata = simulated.copy()
    adata.obs["vgfm_growth"] = np.float32(0)
    fig = pl.growth(adata, return_fig=True)
    fig.canvas.draw()
    (cells,) = of_type(fig.axes[0], PathCollection)
    assert set(cells.norm(np.zeros(3))) == {0.5}


def test_unknown_basis_lists_bases(simulated):
    with pytest.raises(KeyError, match=r"'umap' not found.*'genes'"):
        pl.growth(simulated, "umap")
    assert plt.get_fignums() == []


def test_basis_of_one_dimension_is_refused(simulated):
    adata = simulated.copy()
    adata.obsm["X_line"] = adata.obsm["X_genes"][:, :1]
    with pytest.raises(ValueError, match="one dimension"):
        pl.growth(adata, "line")


# trajectories


def segments(ax: Axes) -> LineCollection:
    (lines,) = of_type(ax, LineCollection)
    return lines


def test_trajectories_have_one_segment_for_each_step_and_cell(simulated):
    stored = simulated.uns["vgfm"]["trajectories"]
    drawn = np.asarray(segments(pl.trajectories(simulated)).get_segments())
    assert drawn.shape == (8 * 7, 2, 2)
    wanted = [[stored["positions"][k, i], stored["positions"][k + 1, i]] for k in range(8) for i in range(7)]
    np.testing.assert_allclose(drawn, wanted, rtol=1e-6)


def test_width_follows_the_square_root_of_mass(simulated):
    mass = simulated.uns["vgfm"]["trajectories"]["mass"]
    widths = segments(pl.trajectories(simulated, linewidth=3.0)).get_linewidths()
    np.testing.assert_allclose(widths, 3 * np.sqrt((mass[:-1] + mass[1:]) / 2).ravel(), rtol=1e-5)


def test_time_colours_span_the_time_points_and_are_named_as_the_users_column(simulated):
    fig = pl.trajectories(simulated, return_fig=True)
    lines = segments(fig.axes[0])
    assert (lines.norm.vmin, lines.norm.vmax) == (0, 4)
    np.testing.assert_allclose(np.asarray(lines.get_array()).reshape(8, 7)[:, 0], np.arange(0.25, 4, 0.5))
    assert colour_bar(fig).get_ylabel() == "time"


def test_mass_colours_are_the_mass_of_the_step(simulated):
    mass = simulated.uns["vgfm"]["trajectories"]["mass"].astype(float)
    fig = pl.trajectories(simulated, color="mass", cmap="magma", return_fig=True)
    lines = segments(fig.axes[0])
    np.testing.assert_allclose(lines.get_array(), ((mass[:-1] + mass[1:]) / 2).ravel())
    assert (lines.norm.vmin, lines.norm.vmax) == (mass.min(), mass.max()) and lines.get_cmap().name == "magma"
    assert colour_bar(fig).get_ylabel() == "mass (1 at the start)"


def test_starts_and_ends_are_marked_and_explained(simulated):
    stored = simulated.uns["vgfm"]["trajectories"]
    ax = pl.trajectories(simulated)
    _, starts, ends = of_type(ax, PathCollection)
    np.testing.assert_allclose(starts.get_offsets(), stored["positions"][0])
    np.testing.assert_allclose(ends.get_offsets(), stored["positions"][-1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["start", "end"]


def test_cells_behind_can_be_left_out(simulated):
    assert len(of_type(pl.trajectories(simulated, cells=False), PathCollection)) == 2
    behind = of_type(pl.trajectories(simulated, color="mass", na_color="red"), PathCollection)[0]
    assert len(behind.get_offsets()) == simulated.n_obs
    np.testing.assert_allclose(behind.get_facecolor()[0, :3], [1, 0, 0])


def test_everything_drawn_lies_within_the_axes(simulated):
    ax = pl.trajectories(simulated, cells=False)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    positions = simulated.uns["vgfm"]["trajectories"]["positions"].reshape(-1, 2)
    assert ((positions > [x0, y0]) & (positions < [x1, y1])).all()


def test_backward_trajectories_are_drawn(fitted):
    from vgfm_sc import tl

    adata = fitted.copy()
    tl.simulate(adata, n_cells=3, start=4.0, times=[2.0, 0.0])
    assert len(segments(pl.trajectories(adata)).get_segments()) == 6


def test_without_trajectories_the_call_to_make_is_named(fitted):
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.simulate\(adata, key='vgfm'\)"):
        pl.trajectories(fitted)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"color": "growth"}, "'time' or 'mass', got 'growth'"), ({"basis": "umap"}, "basis 'genes'.*not on 'umap'")],
)
def test_trajectories_refuse_what_they_cannot_draw(simulated, arguments, message):
    with pytest.raises(ValueError, match=message):
        pl.trajectories(simulated, **arguments)
    assert plt.get_fignums() == []


def test_a_representation_of_one_dimension_is_refused(unfitted, small):
    pytest.importorskip("torch")
    from vgfm_sc import tl

    adata = unfitted.copy()
    adata.obsm["X_line"] = adata.obsm["X_genes"][:, 1:]
    tl.fit(adata, "time", **{**small, "use_rep": "X_line", "match_steps": 2, "fit_steps": 0})
    tl.simulate(adata, n_cells=2, times=[1.0])
    with pytest.raises(ValueError, match="one dimension"):
        pl.trajectories(adata)
