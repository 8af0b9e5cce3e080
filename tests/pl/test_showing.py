"""Figures are shown, returned and left open as those of scanpy are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import vgfm_sc
from vgfm_sc import pl


@pytest.mark.parametrize("name", ["growth", "genes"])
def test_what_was_not_shown_can_be_saved(made, name, tmp_path):
    getattr(pl, name)(made, show=False)
    plt.savefig(tmp_path / "a.png", dpi=40)
    assert np.ptp(plt.imread(tmp_path / "a.png")[..., :3]) > 0.5  # an empty figure is white


@pytest.mark.parametrize("autoshow", [True, False])
def test_where_nothing_is_said_scanpy_decides(made, shown, monkeypatch, autoshow):
    monkeypatch.setitem(sys.modules, "scanpy", SimpleNamespace(settings=SimpleNamespace(autoshow=autoshow)))
    drawn = pl.growth(made)
    assert (drawn is None, shown) == ((True, [[1]]) if autoshow else (False, []))
    plt.close("all")
    assert (pl.growth(made, show=not autoshow) is None) != autoshow and len(shown) == 1


def test_the_figure_of_given_axes_is_shown_only_where_asked_for(made, shown):
    fig, ax = plt.subplots()
    assert pl.growth(made, ax=ax) is ax and shown == []
    assert pl.growth(made, ax=ax, show=True) is None and shown == [[fig.number]] == [plt.get_fignums()]


def test_without_a_screen_nothing_warns_and_the_figure_can_be_saved(made, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")  # without it matplotlib takes Agg for wanted
    assert pl.growth(made, show=True) is None
    assert plt.get_fignums() == [1]


def test_a_plot_that_fails_closes_its_own_figure_alone(made, monkeypatch):
    mine = plt.figure()
    monkeypatch.delitem(made.uns["vgfm"]["history"]["fitting"], "score")
    with pytest.raises(KeyError):
        pl.loss(made)
    assert plt.get_fignums() == [mine.number]


CELLS = {
    "pl.growth(adata)": 1,
    "pl.growth(adata, show=True)": 1,
    "pl.genes(adata)\npl.growth(adata)": 2,
    "axes = pl.genes(adata, show=False)\nplt.savefig('a.png')": 1,
    "pl.growth(adata, return_fig=True)": 1,
    "fig = pl.growth(adata, return_fig=True)\nfig.savefig('b.png')": 0,
    "fig, axes = plt.subplots(ncols=2)\nfor ax in axes:\n    pl.growth(adata, ax=ax)": 1,
    "import scanpy as sc\nsc.settings.autoshow = False\nassert pl.growth(adata).has_data()": 1,
    "assert not plt.get_fignums()": 0,
}
"""Cells of a notebook, and how many pictures each must show."""


@pytest.mark.slow
def test_a_notebook_shows_every_figure_once(made, tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    made.write_h5ad(tmp_path / "made.h5ad")
    start = "import anndata as ad\nimport matplotlib.pyplot as plt\nfrom vgfm_sc import pl\n"
    start += "adata = ad.read_h5ad('made.h5ad')"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (start, *CELLS)])
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel draws into the page
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(vgfm_sc.__file__).parents[1]), *sys.path]))
    nbclient.NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    found = [sum("image/png" in out.get("data", {}) for out in cell["outputs"]) for cell in book.cells[1:]]
    assert dict(zip(CELLS, found, strict=True)) == CELLS
    for name in ("a.png", "b.png"):
        assert np.ptp(plt.imread(tmp_path / name)[..., :3]) > 0.5
