from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc.datasets._download import download

URL = (
    "https://raw.githubusercontent.com/zhenyiizhang/DeepRUOT/"
    "29e94d6684baf64963d16265214a788e4244f85e/data/mouse_hematopoiesis.csv"
)
SHA256 = "be4360cd67e76205501de63124379be5c82506748e018197a3fdb4dbb1c7ca2f"

DAYS = {0: 2.0, 1: 4.0, 2: 6.0}


def mouse_hematopoiesis() -> AnnData:
    """Mouse haematopoiesis in vitro at days 2, 4 and 6, in two dimensions (:cite:p:`Weinreb20`).

    The coordinates are those on which :cite:p:`Zhang25` compare methods. The file (475 kB) is downloaded once, from
    a fixed commit. The environment variable ``VGFM_SC_DATA`` names the folder it is kept in; a copy of
    ``mouse_hematopoiesis.csv`` put there is used without a network if its sha256 is the expected one, and replaced
    otherwise.

    Returns
    -------
    Annotated data of 10,998 cells with

    ``obs["day"]``, ``obs["time"]``
        Day of sampling (2, 4, 6), and its number (0, 1, 2) as in the file.
    ``obsm["X_reduced"]``
        The two coordinates; also in ``X``.

    Raises
    ------
    ValueError
        The downloaded file has another sha256.
    OSError
        There is no network or server, or the folder cannot be written to; the message says what to do.
    """
    table = pd.read_csv(download(URL, SHA256, "mouse_hematopoiesis.csv"))
    x = table[["x1", "x2"]].to_numpy()
    index = [f"cell{k}" for k in range(len(table))]
    obs = pd.DataFrame({"time": table["samples"].to_numpy(), "day": table["samples"].map(DAYS).to_numpy()}, index=index)
    adata = AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=["x1", "x2"]))
    adata.obsm["X_reduced"] = x
    return adata
