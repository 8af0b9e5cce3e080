from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.reading import comparison
from vgfm_sc.core.reading.effects import tested
from vgfm_sc.tl import _two_conditions


def compare(
    adata: AnnData,
    reference: str,
    other: str,
    *,
    cluster_key: str | None = None,
    n_cells: int = 1000,
    key: str = "vgfm",
    seed: int = 0,
    tol: float = 1e-4,
    device: str = "auto",
) -> pd.DataFrame:
    """Compare two conditions of a fit, such as control and treated: growth, velocity, fates and mass.

    Growth and velocity are evaluated at the cells of both conditions, each cell at its own time, once with the model of
    either condition. For fates and mass, the starting cells of each condition are followed to the last time that both
    conditions have.

    Intervals and tests use the models of an ensemble (``n_models`` of `vgfm_sc.tl.fit`). Fit with ``sample_key`` for
    intervals that cover the variation between animals: each model is then trained on resampled animals. Without it,
    they cover only the variation between cells of the same animals, and a chance difference between two animals can
    look like an effect of the treatment.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit` with ``condition_key``.
    reference, other
        The conditions. Differences are those of ``other`` from ``reference``.
    cluster_key
        Column of ``obs`` with clusters: growth and velocity are averaged over each, and the clusters of the last time
        are the fates. `None` averages over all cells.
    n_cells
        Starting cells of each condition that are followed, drawn at random where there are more.
    key
        The fit's ``key_added``.
    seed
        Of the draws.
    tol
        Error allowed in one step of the integrator, as in `vgfm_sc.tl.simulate`.
    device
        Where to evaluate the networks, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    The differences, one row each:

    ``effect``, ``cluster``
        ``"growth"`` and ``"velocity"`` of each cluster; ``"fate"`` for each cluster of the last time; ``"mass"``.
    ``reference``, ``other``
        Mean growth rate of the cluster, over the same cells in both columns, where the cells of each condition have
        half the weight; speed of its mean velocity; share of the descendants in the cluster; final mass of a starting
        cell.
    ``estimate``
        Mean over the models of: the difference of growth; of shares; of log mass; for velocity the length of the mean
        difference, which is above 0 also where nothing differs.
    ``low``, ``high``
        95% interval, from the t distribution. Its degrees of freedom are ``1 / (1 / (n_models - 1) + 1 / (n - q))``,
        with ``n`` samples of ``q`` kinds, those of one condition and time: more models and more samples make it
        narrower. For velocity it is too wide rather than too narrow.
    ``t``, ``pvals``, ``pvals_adj``
        Of the estimate; two-sided; adjusted by Benjamini and Hochberg for the number of rows.

    Sets the following fields; cells of other conditions, and of times that one of the two does not have, are NaN:

    ``adata.obs["vgfm_growth_difference"]`` : :class:`pandas.Series` (float32)
        Growth rate under ``other`` less that under ``reference``, per unit of the time key, mean over the models.
    ``adata.obsm["vgfm_velocity_difference_pca"]`` : :class:`numpy.ndarray` (float32, shape ``(n_obs, d)``)
        The same of the velocity. The name ends as that of the fit's velocity.
    ``adata.obs["vgfm_growth_difference_sd"]`` : :class:`pandas.Series` (float32)
        With an ensemble: standard deviation over the models.
    ``adata.obs["vgfm_growth_difference_pvals_adj"]``, ``adata.obs["vgfm_velocity_difference_pvals_adj"]`` : \
    :class:`pandas.Series` (float32)
        With an ensemble: adjusted for the number of cells.
    ``adata.uns["vgfm"]["comparison"]`` : :class:`dict`
        ``table``, as returned; ``mass``, a table with ``time``, ``reference``, ``other`` (mass of a starting cell), and
        ``estimate``, ``low``, ``high``, ``t``, ``pvals`` of the difference of their logs; ``reference``, ``other``;
        ``cluster_key``; ``of``: ``"samples"`` or ``"cells"``, what was drawn again, or ``"none"``.

    Raises
    ------
    KeyError
        No fit under ``key``, or no column ``cluster_key``.
    TypeError
        The column holds numbers.
    ValueError
        The fit has no conditions, or not these; both are the same; no time after the first has cells of both; or the
        representation is not what was fitted.

    Warns
    -----
    UserWarning
        The fit has one model, and so no intervals; or its models had cells drawn again, not samples.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching(treatment="growth", n_samples=3)
    >>> vgfm_sc.tl.fit(
    ...     adata, "time", use_rep="X_state", condition_key="condition", sample_key="sample", n_models=5
    ... )
    >>> vgfm_sc.tl.compare(adata, "control", "treated", cluster_key="cell_type")
    """
    _checks.real("tol", tol)
    _checks.seed(seed)
    _checks.whole("n_cells", n_cells)
    two = _two_conditions.read(adata, reference, other, cluster_key, key, device)
    two.warn_of_intervals()

    rng = np.random.default_rng(seed)
    found = comparison.fields(two.models, two.time, two.x, two.weights())
    runs = two.outcomes(n_cells, tol, rng)
    r, freedom = len(two.models), two.freedom
    shares, masses = (np.stack([getattr(run, name) for run in runs], axis=1) for name in ("shares", "mass"))
    shares = shares[..., : len(two.fates)]  # without clusters there are none to tell apart
    off = found.velocity_of[:, 1] - found.velocity_of[:, 0]
    speeds = np.linalg.norm(found.velocity_of.mean(axis=0), axis=-1)
    growing = tested(np.log(masses[:, 1] / masses[:, 0]), 1.0, freedom)
    effects = [
        (
            "growth",
            two.names,
            found.growth_of.mean(axis=0),
            tested(np.diff(found.growth_of, axis=1)[:, 0], 1.0, freedom),
        ),
        (
            "velocity",
            two.names,
            speeds,
            comparison.tested_lengths(off.mean(axis=0), off.var(axis=0).sum(axis=-1) * r, r, freedom),
        ),
        ("fate", two.fates, shares.mean(axis=0), tested(np.diff(shares, axis=1)[:, 0], 1.0, freedom)),
        ("mass", [""], masses.mean(axis=0)[:, -1:], type(growing)(*(part[-1:] for part in growing))),
    ]
    table = pd.concat(
        [
            pd.DataFrame({"effect": effect, "cluster": names, "reference": a, "other": b, **its._asdict()})
            for effect, names, (a, b), its in effects
        ],
        ignore_index=True,
    )
    table["pvals_adj"] = _adjusted(table["pvals"].to_numpy())
    a, b = masses.mean(axis=0)
    about = {
        "table": table,
        "mass": pd.DataFrame({"time": two.times, "reference": a, "other": b, **growing._asdict()}),
        "reference": str(reference),
        "other": str(other),
        "of": two.of,
        **({} if cluster_key is None else {"cluster_key": cluster_key}),
    }
    _anndata.write_derived(adata, key, _of_cells(adata, key, two, found), comparison=about)
    return table.copy()


def _of_cells(
    adata: AnnData, key: str, two: _two_conditions.Two, found: comparison.Fields
) -> dict[tuple[str, str], np.ndarray]:
    """What is written of each cell, by slot and name."""
    r, name = len(two.models), f"{key}_growth_difference"
    basis = _anndata.velocity_name(adata, key).removeprefix(f"{key}_velocity")
    entries = {
        ("obs", name): two.spread(found.growth.mean(axis=0)),
        ("obsm", f"{key}_velocity_difference{basis}"): two.spread(found.velocity),
    }
    if r > 1:
        growth = tested(found.growth, 1.0, two.freedom)
        velocity = comparison.tested_lengths(found.velocity, found.scatter, r, two.freedom)
        entries["obs", f"{name}_sd"] = two.spread(found.growth.std(axis=0, ddof=1))
        entries["obs", f"{name}_pvals_adj"] = two.spread(_adjusted(growth.pvals))
        entries["obs", f"{key}_velocity_difference_pvals_adj"] = two.spread(_adjusted(velocity.pvals))
    return entries


def _adjusted(pvals: np.ndarray) -> np.ndarray:
    """By Benjamini and Hochberg; NaN where the fit has one model."""
    from scipy import stats  # half a second

    return pvals if np.isnan(pvals).any() else stats.false_discovery_control(pvals)
