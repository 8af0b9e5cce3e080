from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.animation import AbstractMovieWriter, FuncAnimation, HTMLWriter, writers
from matplotlib.axes import Axes

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

WRITERS = {".gif": "pillow", ".html": "html", ".mp4": "ffmpeg", ".mov": "ffmpeg", ".mkv": "ffmpeg"}
"""Of matplotlib, by how the name of a file ends."""

LARGEST = 16.0
"""Mass from which on a cell is drawn no larger."""


@_axes.plot
def animate(
    adata: AnnData,
    basis: str | None = None,
    *,
    color: str | None = None,
    n_frames: int = 100,
    fps: int = 20,
    palette: _colors.Palette = None,
    na_color: str = "lightgray",
    legend_loc: str | None = "right margin",
    size: float | None = None,
    title: str | None = None,
    frameon: bool = True,
    file: str | os.PathLike[str] | None = None,
    dpi: float | None = None,
    key: str = "vgfm",
    ax: Axes | None = None,
) -> FuncAnimation | None:
    """Simulated cells as they move, multiply and die, over the observed cells.

    The area of a cell is its mass. After `vgfm_sc.tl.simulate` with ``branching=True`` each cell is a dot of its own,
    which comes from its mother and is gone when it dies. Between the times that were kept cells move on straight lines.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate`.
    basis
        Basis to draw on: that of the fit (`None`), or one that `vgfm_sc.tl.project` has laid the trajectories on.
    color
        A column of labels carried to the trajectories by `vgfm_sc.tl.annotate`; `None` draws all in one colour.
    n_frames
        How many pictures, evenly spaced in time.
    fps
        Pictures per second.
    palette
        Colours of labels: a colour map, a list or a mapping; `None` takes ``uns["<color>_colors"]`` if there are any.
    na_color
        Colour of the observed cells behind.
    legend_loc
        Where labels are named: ``"right margin"``, ``"none"`` or a place that matplotlib knows.
    size
        Area of a cell of mass 1, in points squared; `None` chooses by the number of cells.
    title
        Before the time.
    frameon
        Draw the frame and the axis names.
    file
        Where to write the animation: ``"cells.gif"`` by Pillow, ``"cells.mp4"`` by ffmpeg where it is installed,
        ``"cells.html"`` as a page with buttons. `None` returns it.
    dpi
        Dots per inch of the file; `None` takes ``rcParams["savefig.dpi"]``.
    key
        The fit's ``key_added``.
    ax
        Axes to draw into.

    Returns
    -------
    `None` if it was written to ``file``; else the animation, whose ``save`` writes it and whose ``to_jshtml`` shows it
    in a notebook, ``IPython.display.HTML(animation.to_jshtml())``. Keep it: matplotlib stops one that nobody holds.

    Raises
    ------
    KeyError
        No fit under ``key``, no trajectories, or none on ``basis``; or they carry no labels ``color``.
    ValueError
        ``file`` ends in what no writer of matplotlib knows, or needs a program that is not installed.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.tl.simulate(adata, branching=True)
    >>> vgfm_sc.pl.animate(adata, n_frames=10, file="cells.gif")
    """
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    stored = _anndata.read_trajectories(adata, key)
    positions = _axes.plane(_anndata.read_positions(adata, key, basis), f"Basis {basis!r}")
    masses, times = np.asarray(stored["mass"], dtype=float), np.asarray(stored["times"], dtype=float)
    if n_frames < 2 or not fps > 0:
        msg = f"An animation needs two frames or more, and more than 0 a second; got n_frames={n_frames}, fps={fps}."
        raise ValueError(msg)
    codes, colors = None, {"": _colors.ink()}
    if color is not None:
        codes, names = _anndata.read_labels(adata, key, color)
        colors = _colors.of_categories(adata, color, names, palette)
    listed = np.asarray([*colors.values(), na_color])  # code -1, a cell without a label, takes the last
    writer = None if file is None else _writer(os.fspath(file), fps)

    fig, ax = _axes.start(given := ax)
    area = _axes.point_size(len(x)) if size is None else size
    shared: dict[str, Any] = {"linewidths": 0, "rasterized": len(x) > _axes.RASTER_CELLS}
    ax.scatter(x[:, 0], x[:, 1], color=na_color, s=_axes.point_size(len(x)), alpha=0.35, **shared)
    cells = ax.scatter(positions[0, :, 0], positions[0, :, 1], s=area, c=listed[0], zorder=2, **shared)
    low, high = positions.reshape(-1, 2).min(axis=0), positions.reshape(-1, 2).max(axis=0)
    ax.update_datalim([low, high])
    ax.autoscale_view()
    _axes.label(ax, basis, title, frameon)
    if color is not None:
        _colors.legend(ax, colors, "right margin" if legend_loc == "on data" else legend_loc)
    unit, before = _axes.time_name(adata, key), "" if title is None else f"{title}, "

    past = np.abs(times - times[0])  # runs may go backward in time

    def draw(t: float) -> tuple[Any, ...]:
        k = int(np.clip(np.searchsorted(past, t, side="right") - 1, 0, len(past) - 2))
        share = (t - past[k]) / (past[k + 1] - past[k])
        cells.set_offsets((1 - share) * positions[k] + share * positions[k + 1])
        mass = (1 - share) * masses[k] + share * masses[k + 1]
        cells.set_sizes(area * np.minimum(mass, LARGEST))
        if codes is not None:
            cells.set_facecolor(list(listed[codes[k if share < 0.5 else k + 1]]))
        ax.set_title(f"{before}{unit} = {(1 - share) * times[k] + share * times[k + 1]:.3g}")
        return (cells,)

    draw(0.0)
    frames = np.linspace(0, past[-1], n_frames)
    moving = FuncAnimation(fig, draw, frames=frames, interval=1000 / fps, init_func=lambda: (cells,))
    if file is None:
        return moving
    moving.save(os.fspath(file), writer=writer, dpi=dpi)
    if given is None:
        plt.close(fig)
    return None


def _writer(file: str, fps: int) -> AbstractMovieWriter:
    """The writer of matplotlib for a file, by how its name ends."""
    end = PurePath(file).suffix.lower()
    if end not in WRITERS:
        msg = f"file={file!r} ends in none of {list(WRITERS)}."
        raise ValueError(msg)
    name = WRITERS[end]
    if not writers.is_available(name):
        msg = f"{end} is written by {name}, which is not installed. Install it, or write a .gif or a .html file."
        raise ValueError(msg)
    return HTMLWriter(fps=fps, embed_frames=True) if name == "html" else writers[name](fps=fps)
