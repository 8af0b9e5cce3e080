from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core import threads
from vgfm_sc.core.reading.distances import (
    energy_distance,
    energy_floor,
    relative_mass_error,
    sampling_floor,
    spread,
    wasserstein1,
)
from vgfm_sc.tl._model import models_and_cells

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model


def evaluate(
    adata: AnnData, *, key: str = "vgfm", max_cells: int = 5000, seed: int = 0, tol: float = 1e-4, device: str = "auto"
) -> pd.DataFrame:
    """Compare simulated with observed cells at every time point.

    Look first at cells that the fit has not seen: copy ``uns`` of the fit to an object that holds them, and pass that.
    There ``energy`` should be near or below ``energy_floor``, and ``spread`` near 1.

    On the cells of the fit the scores say less. These are what it was trained to reach, so ``w1`` is small there by
    construction, and it is small also where simulated populations have shrunk. ``spread`` shows that they have.

    All cells of the first time point, of equal mass, are simulated once through all times; no time point restarts
    from data.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    key
        The fit's ``key_added``.
    max_cells
        Distances and floors take at most this many simulated and observed cells, drawn at random.
    seed
        Of these draws and of the splits behind the floors.
    tol
        Error allowed in one step of the integrator, as a share of the data's spread.
    device
        Where to follow the cells, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    One row for each time point after the first, and after a fit with ``condition_key`` for each condition; kept in
    ``uns["vgfm"]["evaluation"]`` for `vgfm_sc.pl.snapshots` unless ``adata`` is a view:

    ``condition``
        Its name, where the fit has conditions. Each is simulated from its own cells of the first time point.
    ``time``
        The time point.
    ``energy``
        Energy distance :cite:p:`Szekely13` in units of the representation, ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``,
        between the simulated cells ``X`` weighted by mass and the observed ones ``Y``. The estimate is unbiased: for
        two samples of one population it is 0 on average, so it may be below 0. On the cells of the fit it mostly is.
    ``energy_floor``
        What chance alone makes of ``energy``: an energy below the floor is no more than chance. Of pairs of samples of
        one population, as large as those compared, 95% have a smaller energy distance. The floor is the 95% quantile of
        the energy distance between random halves of the observed cells, times ``(1/n + 1/m) / (1/h + 1/h')``, with
        ``m`` observed cells, halves of ``h`` and ``h'``, and ``n = sum(mass)**2 / sum(mass**2)``, the effective number
        of simulated cells. NaN where fewer than 4 cells are observed.
    ``spread``
        Total variance of all simulated cells, weighted by mass, over that of the observed ones. Below 1 the simulated
        population has shrunk.
    ``w1``
        Exact Wasserstein-1 distance, in units of the representation, between the simulated cells weighted by mass
        and the observed ones.
    ``w1_floor``
        W1 between random halves of the observed cells, a mean over splits where cells are few: what sampling alone
        makes of samples of half the size. On the cells of the fit ``w1`` is mostly below, the more so the fewer they
        are and the more dimensions: the model has met these very cells. On cells that it has not, about the floor is
        as near as real cells come.
    ``rme``
        Relative mass error ``|predicted - observed| / observed``: 0, up to the integrator, on the cells of the fit,
        whose totals are met by construction.
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
    result, snapshots, models = models_and_cells(adata, key, device)
    courses = {name: snapshots.under(name) for name in models}
    for name, course in courses.items():
        _check_cells(course, "" if name is None else f" of condition {name!r}")
    table: list[dict[str, Any]] = []
    for name, model in models.items():
        rows = _scores(courses[name], model, max_cells, seed, tol)
        table += rows if name is None else [{"condition": name, **row} for row in rows]
    scores = pd.DataFrame(table)
    if not adata.is_view:
        _anndata.write(adata, {("uns", key): {**result, "evaluation": scores}})
    return scores


def _check_cells(course: _anndata.Snapshots, of_which: str) -> None:
    points = course.time_points
    missing = [float(t) for t, rows in zip(points, course.rows, strict=True) if len(rows) < 2]
    if missing:
        msg = f"Fewer than 2 cells{of_which} left at time points {missing}; evaluation needs all that were fitted."
        raise ValueError(msg)


def _scores(course: _anndata.Snapshots, model: Model, max_cells: int, seed: int, tol: float) -> list[dict[str, float]]:
    """A row for each time point of a course after the first."""
    points, rng, totals = course.time_points, np.random.default_rng(seed), course.totals
    first = course.x[course.rows[0]]
    positions, mass = model.simulate(first, points, tol=tol)
    table = []
    for k in range(1, len(points)):
        observed = course.x[course.rows[k]]
        simulated = rng.permutation(len(first))[:max_cells]
        seen = observed[np.sort(rng.permutation(len(observed))[:max_cells])]
        x, weight = positions[k][simulated], mass[k][simulated]
        predicted = mass[k].sum() * (totals[0] / len(first))
        w1 = threads.beside(wasserstein1, x, seen, weight)  # this and the other take most of the time
        scores = {
            "time": points[k],
            "energy": energy_distance(x, seen, weight),
            "energy_floor": energy_floor(seen, weight, np.random.default_rng([seed, k])),
            "spread": spread(positions[k], observed, mass[k]),
            "w1": np.nan,
            "w1_floor": sampling_floor(observed, max_cells, rng),
            "rme": relative_mass_error(predicted, totals[k]),
            "mass_predicted": predicted,
            "mass_observed": float(totals[k]),
        }
        table.append({**scores, "w1": w1()})
    return table
