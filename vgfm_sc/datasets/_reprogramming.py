from __future__ import annotations

import anndata
import numpy as np
from anndata import AnnData

from vgfm_sc.datasets._download import download

URL = "https://raw.githubusercontent.com/theislab/moscot/89a7936/tests/data/moscot_temporal_tests.h5ad"
SHA256 = "746a098fbf84e941e67e494bb4b61b741eff8945850e0056e6857cccd07f5885"


def reprogramming() -> AnnData:
    """Mouse fibroblasts on the way to stem cells at days 10, 10.5 and 11: 250 real cells (:cite:p:`Schiebinger19`).

    A small draw of the time course, as moscot (:cite:p:`Klein25`) keeps it for its tests: enough to try every step of
    an analysis on real expression, too few for a finding. About as many cells were drawn from each day, so that their
    numbers say nothing about growth: fit with equal totals, ``mass={10.0: 1, 10.5: 1, 11.0: 1}``.

    The file (540 kB) is downloaded once, from a fixed commit. The environment variable ``VGFM_SC_DATA`` names the
    folder it is kept in; a copy put there as ``reprogramming_250cells.h5ad`` is used without a network if its sha256 is
    the expected one, and replaced otherwise.

    Returns
    -------
    Annotated data of 250 cells and 1,479 genes with

    ``X``
        Expression, normalised to equal totals and logarithmic, sparse.
    ``obs["day"]``
        Day of sampling: 10, 10.5 or 11.
    ``obs["cell_type"]``
        Type of the cell, categorical, missing where the authors name none.

    Raises
    ------
    ValueError
        The downloaded file has another sha256.
    OSError
        There is no network or server, or the folder cannot be written to; the message says what to do.
    """
    stored = anndata.read_h5ad(download(URL, SHA256, "reprogramming_250cells.h5ad"))
    adata = AnnData(stored.X, obs=stored.obs[["day", "cell_type"]].copy(), var=stored.var.copy())
    adata.obs["day"] = adata.obs["day"].astype(np.float64)
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.remove_categories("unknown")
    return adata
