"""What the last version 0.1 wrote is read, with the numbers that it had; the first is in `test_storage.py`."""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import get, pl

try:
    from vgfm_sc import tl
except ImportError:
    tl = None
needs_torch = pytest.mark.skipif(tl is None, reason="torch is not installed here")

FILE = Path(__file__).parent / "data" / "last_of_0_1.h5ad.gz"


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> ad.AnnData:
    """As stored; copy before changing."""
    path = tmp_path_factory.mktemp("files") / FILE.stem
    path.write_bytes(gzip.decompress(FILE.read_bytes()))
    return ad.read_h5ad(path)


@needs_torch
@pytest.mark.parametrize("condition", ["control", "treated"])
def test_networks_answer_as_stored(stored, condition):
    assert stored.uns["vgfm"]["version"] == "0.1.0"
    cells = stored[stored.obs["condition"] == condition]
    v, g = get.model(cells, condition=condition)(cells.obs["time"].to_numpy(), cells.X)
    np.testing.assert_allclose(v, cells.obsm["vgfm_velocity_genes"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(g, cells.obs["vgfm_growth"], rtol=1e-4, atol=1e-5)


@needs_torch
def test_tools_give_what_is_stored(stored):
    adata = stored.copy()
    tl.simulate(adata, n_cells=3, times=[0.0, 2.5], condition="treated")
    found, wanted = (get.trajectories(one).select_dtypes("number") for one in (adata, stored))
    pd.testing.assert_frame_equal(found, wanted[found.columns], rtol=1e-3, atol=1e-4)
    tl.fate(adata, "cell_type")
    for name in ("vgfm_fate", "vgfm_fate_sd"):
        pd.testing.assert_frame_equal(adata.obsm[name], stored.obsm[name], rtol=1e-3, atol=1e-4)
    tl.landscape(adata, time=2.5, condition="treated")
    np.testing.assert_allclose(adata.obs["vgfm_landscape"], stored.obs["vgfm_landscape"], rtol=1e-3, atol=1e-4)


def test_couplings_send_the_stored_mass(stored):
    for condition in ("control", "treated"):
        sent = np.concatenate([plan.sum(1) for plan in get.couplings(stored, condition=condition).values()])
        mass = stored.obs["vgfm_mass"][stored.obs["condition"] == condition].dropna()
        np.testing.assert_allclose(np.ravel(sent)[np.ravel(sent) > 0], mass, rtol=1e-5)


@pytest.mark.parametrize("plot", ["compare", "fate", "landscape", "perturb", "screen", "trajectories", "velocity"])
def test_plots_draw_it(stored, unchanged, plot):
    with unchanged(stored):
        drawn = getattr(pl, plot)(stored, show=False)
    for ax in np.ravel(drawn):
        assert ax.has_data()
    plt.close("all")
