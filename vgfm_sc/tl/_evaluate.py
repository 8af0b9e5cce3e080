from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.reading.distances import relative_mass_error, sampling_floor, wasserstein1
from vgfm_sc.tl._model import model_and_cells


def evaluate(
    adata: AnnData, *, key: str = "vgfm", max_cells: int = 5000, seed: int = 0, tol: float = 1e-4, device: str = "auto"
) -> pd.DataFrame:
    """Compare simulated with observed cells at every time point.

    All cells of the first time point, of equal mass, are simulated once through all times; no time point restarts
    from data. The cells are those of ``adata``: pass an object with cells that the fit has not seen (``uns`` copied
    over) to measure generalisation.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    key
        The fit's ``key_added``.
    max_cells
        The exact transport problem is solved on at most this many simulated and observed cells, drawn at random.
    seed
        Of these draws and of the splits behind ``w1_floor``.
    tol
        Error allowed in one step of the integrator, as a share of the data's spread.
    device
        Where to follow the cells, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    One row for each time point after the first; kept in ``uns["vgfm"]["evaluation"]`` for `vgfm_sc.pl.snapshots` unless
    ``adata`` is a view:

    ``time``
        The time point.
    ``w1``
        Exact Wasserstein-1 distance, in units of the representation, between the simulated cells weighted by mass
        and the observed ones.
    ``rme``
        Relative mass error ``|predicted - observed| / observed``: 0, up to the integrator, on the cells of the fit,
        whose totals are met by construction.
    ``w1_floor``
        W1 between random halves of the observed cells, a mean over splits where cells are few: what sampling alone
        makes of samples of half the size. On the cells of the fit ``w1`` is mostly below, the more so the fewer they
        are and the more dimensions: the model has met these very cells. On cells that it has not, about the floor is
        as near as real cells come.
    ``mass_predicted``, ``mass_observed``
        Total mass: that of the first time point carried on by growth, and the one observed. In cells; where the fit was
        given totals with ``mass``, these are observed, whatever the number of cells.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.tl.evaluate(adata)
    """
    _checks.whole("max_cells", max_cells, least=2)
    _checks.seed(seed)
    _checks.real("tol", tol)
    result, snapshots, model = model_and_cells(adata, key, device)
    points = snapshots.time_points
    missing = [float(t) for t, rows in zip(points, snapshots.rows, strict=True) if len(rows) < 2]
    if missing:
        msg = f"Fewer than 2 cells left at time points {missing}; evaluation needs all that were fitted."
        raise ValueError(msg)
    rng, totals = np.random.default_rng(seed), snapshots.totals
    first = snapshots.x[snapshots.rows[0]]
    positions, mass = model.simulate(first, points, tol=tol)
    table = []
    for k in range(1, len(points)):
        observed = snapshots.x[snapshots.rows[k]]
        simulated = rng.permutation(len(first))[:max_cells]
        seen = observed[np.sort(rng.permutation(len(observed))[:max_cells])]
        predicted = mass[k].sum() * (totals[0] / len(first))
        table.append(
            {
                "time": points[k],
                "w1": wasserstein1(positions[k][simulated], seen, mass[k][simulated]),
                "rme": relative_mass_error(predicted, totals[k]),
                "w1_floor": sampling_floor(observed, max_cells, rng),
                "mass_predicted": predicted,
                "mass_observed": float(totals[k]),
            }
        )
    scores = pd.DataFrame(table)
    if not adata.is_view:
        _anndata.write(adata, {("uns", key): {**result, "evaluation": scores}})
    return scores
