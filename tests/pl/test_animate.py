from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import animation
from matplotlib.animation import FuncAnimation
from PIL import Image

from vgfm_sc import pl


def frames(moving: FuncAnimation) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Places and areas of the cells, and what stands above, in each picture."""
    moving._init_draw()
    found = []
    for at in moving.new_frame_seq():
        moving._draw_frame(at)
        (ax,) = moving._fig.axes
        cells = ax.collections[1]
        found.append((np.array(cells.get_offsets()), np.array(cells.get_sizes()), ax.get_title()))
    moving._draw_was_started = True  # else matplotlib warns of an animation that nobody drew
    plt.close(moving._fig)
    return found


def test_cells_are_where_they_were_simulated_with_their_mass(made):
    stored = made.uns["vgfm"]["trajectories"]
    found = frames(pl.animate(made, n_frames=7, size=2.0))  # times 0 to 3 by halves
    assert [title for *_, title in found] == [f"day = {t:g}" for t in (0, 0.5, 1, 1.5, 2, 2.5, 3)]
    for frame, k in ((0, 0), (1, 1), (2, 2), (4, 3), (6, 4)):
        np.testing.assert_allclose(found[frame][0], stored["positions"][k], rtol=1e-6)
        np.testing.assert_allclose(found[frame][1], 2 * np.minimum(stored["mass"][k], 16), rtol=1e-6)
    np.testing.assert_allclose(found[3][0], (stored["positions"][2] + stored["positions"][3]) / 2, rtol=1e-6)


def test_runs_backward_end_at_the_earliest_time(made):
    stored = made.uns["vgfm"]["trajectories"]
    stored["times"] = stored["times"][::-1].copy()
    found = frames(pl.animate(made, n_frames=2))
    assert [title for *_, title in found] == ["day = 3", "day = 0"]
    np.testing.assert_allclose(found[-1][0], stored["positions"][-1], rtol=1e-6)


def test_labels_have_their_colours_and_a_legend(made):
    moving = pl.animate(made, "umap", color="type", palette={"a": "red", "b": "green", "c": "blue"}, title="mine")
    codes = made.uns["vgfm"]["trajectories"]["labels"]["type"]["codes"]
    moving._draw_frame(3.0)
    (ax,) = moving._fig.axes
    wanted = np.array([[1, 0, 0], [0, 128 / 255, 0], [0, 0, 1]])[codes[-1]]
    np.testing.assert_allclose(ax.collections[1].get_facecolors()[:, :3], wanted, atol=1e-6)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    assert ax.get_title() == "mine, day = 3" and ax.get_xlabel() == "UMAP1"
    frames(moving)


def test_a_file_is_written_and_its_figure_closed(made, unchanged, tmp_path):
    with unchanged(made):
        assert pl.animate(made, file=tmp_path / "a.gif", n_frames=3, fps=10, dpi=30) is None
    assert plt.get_fignums() == []
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3 and image.info["duration"] == 100
    pl.animate(made, file=str(tmp_path / "a.html"), n_frames=2, dpi=30)
    assert "data:image/png;base64" in (tmp_path / "a.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.html"]


def test_axes_given_are_drawn_into_and_stay_open(made, tmp_path):
    fig, (left, right) = plt.subplots(ncols=2)
    pl.animate(made, ax=right, file=tmp_path / "a.gif", n_frames=2, dpi=20)
    assert plt.get_fignums() == [fig.number] and right.has_data() and not left.has_data()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"file": "a.avi"}, r"'a.avi' ends in none of \['.gif', '.html', '.mp4'"),
        ({"n_frames": 1}, "two frames or more.*n_frames=1"),
        ({"fps": 0}, "more than 0 a second.*fps=0"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_drawn(made, arguments, words):
    with pytest.raises(ValueError, match=words):
        pl.animate(made, **arguments)
    assert plt.get_fignums() == []


def test_a_program_that_is_missing_is_named(made, monkeypatch):
    monkeypatch.setattr(animation.writers, "is_available", lambda name: False)
    with pytest.raises(ValueError, match="written by ffmpeg, which is not installed.*.gif"):
        pl.animate(made, file="a.mp4")
