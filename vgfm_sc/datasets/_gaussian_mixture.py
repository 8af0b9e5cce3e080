from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _checks

VARIANCE = 0.005


def gaussian_mixture(*, n_dims: int = 1000, seed: int = 0) -> AnnData:
    """Gaussian clusters in many dimensions: one splits without growing, one grows tenfold without moving.

    The benchmark of :cite:p:`Wang25`, section 6: 400 cells at the origin become 200 at each of +e1 and -e1; 100 cells
    at 2.5 e2 become 1,000; covariance 0.005 I.

    Parameters
    ----------
    n_dims
        Dimensions, at least 2.
    seed
        Of the draws.

    Returns
    -------
    Annotated data with ``X``, shape ``(1900, n_dims)``, and

    ``obs["time"]``
        0 or 1.
    ``obs["component"]``
        ``"origin"`` and ``"upper"`` at time 0; ``"left"``, ``"right"`` and ``"upper"`` at time 1.
    ``obs["true_growth"]``
        d log m/dt: log 10 in the upper component, 0 elsewhere.
    ``obsm["X_gaussian"]``, ``obsm["true_velocity"]``
        The positions; and the velocity of clusters that move without changing shape: 0 at the origin, where half
        the cells leave for either side.
    """
    _checks.whole("n_dims", n_dims, least=2)
    rng = np.random.default_rng(seed)
    parts = [("origin", 0, 400), ("upper", 0, 100), ("right", 1, 200), ("left", 1, 200), ("upper", 1, 1000)]
    centre = {name: np.zeros(n_dims) for name in ("origin", "upper", "right", "left")}
    centre["upper"][1], centre["right"][0], centre["left"][0] = 2.5, 1.0, -1.0
    counts = [n for _, _, n in parts]
    x = np.repeat([centre[name] for name, _, _ in parts], counts, axis=0)
    x += np.sqrt(VARIANCE) * rng.standard_normal(x.shape)
    component = np.repeat([name for name, _, _ in parts], counts)
    obs = pd.DataFrame(
        {
            "time": np.repeat([float(t) for _, t, _ in parts], counts),
            "component": pd.Categorical(component),
            "true_growth": np.where(component == "upper", np.log(10.0), 0.0),
        },
        index=[f"cell{k}" for k in range(len(x))],
    )
    adata = AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"dim{k}" for k in range(n_dims)]))
    adata.obsm["X_gaussian"] = x
    velocity = np.zeros_like(x)
    velocity[:, 0] = np.select([component == "right", component == "left"], [1.0, -1.0], 0.0)
    adata.obsm["true_velocity"] = velocity
    return adata
