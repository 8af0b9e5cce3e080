from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _checks

STEPS_PER_UNIT = 8
"""Euler-Maruyama steps between time points."""

N_UNITS = 4
DAUGHTER_SPREAD = 0.014
NOISE = np.array([0.05, 0.05, 0.01])
DECAY = 0.4


GENES = ("gene1", "gene2", "gene3")
"""The third is not observed."""


def toggle_switch(
    *, n_per_branch: int = 200, division: float = 0.0625, knockout: str | Sequence[str] | None = None, seed: int = 0
) -> AnnData:
    """A toggle switch of two genes: an active branch that moves and divides, and a quiescent one.

    Two genes repress each other under a third, unobserved one (:cite:p:`Sha24`, section 4.1; parameters as in
    :cite:p:`Zhang25`). At each of 32 steps a cell divides with probability ``division x2^2 / (1 + x2^2)``; the
    population is recorded at steps 0, 8, 16, 24 and 32.

    Parameters
    ----------
    n_per_branch
        Cells of each branch at the start.
    division
        Highest division probability per step.
    knockout
        ``"gene1"``, ``"gene2"`` or the unobserved ``"gene3"``, or several, held at 0 from the start. With the same
        ``seed`` the other genes start as they do without.
    seed
        Of the simulation.

    Returns
    -------
    Annotated data with ``X``, shape ``(n_obs, 2)``, the two observed genes, and

    ``obs["time"]``
        0, 1, 2, 3, 4; one unit is eight steps.
    ``obs["branch"]``
        ``"active"`` or ``"quiescent"``.
    ``obs["true_growth"]``
        Expected d log m/dt per unit of time.
    ``obsm["X_genes"]``, ``obsm["true_velocity"]``
        The two genes, and their expected change per unit of time; shape ``(n_obs, 2)``.
    """
    _checks.whole("n_per_branch", n_per_branch)
    silent = silenced(knockout, GENES)
    rng = np.random.default_rng(seed)
    start = np.repeat([[2.0, 0.2, 0.0], [0.0, 0.0, 2.0]], n_per_branch, axis=0)
    x = np.where(silent, 0, np.maximum(start + 0.1 * rng.standard_normal(start.shape), 0))
    branch = np.repeat(["active", "quiescent"], n_per_branch)
    recorded = [(x, branch)]
    for step in range(1, N_UNITS * STEPS_PER_UNIT + 1):
        dividing = rng.random(len(x)) < division_probability(x, division)
        x = np.maximum(x + drift(x) + NOISE * rng.standard_normal(x.shape), 0)
        daughters = x[dividing] + DAUGHTER_SPREAD * rng.standard_normal((int(dividing.sum()), 3))
        x = np.where(silent, 0, np.concatenate([x, np.maximum(daughters, 0)]))
        branch = np.concatenate([branch, branch[dividing]])
        if step % STEPS_PER_UNIT == 0:
            recorded.append((x, branch))
    state = np.concatenate([x for x, _ in recorded])
    obs = pd.DataFrame(
        {
            "time": np.repeat(np.arange(N_UNITS + 1.0), [len(x) for x, _ in recorded]),
            "branch": pd.Categorical(np.concatenate([b for _, b in recorded])),
            "true_growth": STEPS_PER_UNIT * np.log1p(division_probability(state, division)),
        },
        index=[f"cell{k}" for k in range(len(state))],
    )
    adata = AnnData(state[:, :2].astype(np.float32), obs=obs, var=pd.DataFrame(index=["gene1", "gene2"]))
    adata.obsm["X_genes"] = state[:, :2].copy()
    adata.obsm["true_velocity"] = STEPS_PER_UNIT * np.where(silent, 0, drift(state))[:, :2]
    return adata


def silenced(knockout: str | Sequence[str] | None, genes: Sequence[str]) -> np.ndarray:
    """Which of ``genes`` are knocked out, shape ``(len(genes),)``."""
    gone = [knockout] if isinstance(knockout, str) else list(knockout or [])
    unknown = [name for name in gone if name not in genes]
    if unknown:
        msg = f"knockout names {unknown}; the genes are {list(genes)}."
        raise ValueError(msg)
    return np.isin(genes, gone)


def division_probability(x: np.ndarray, division: float) -> np.ndarray:
    """Per step, shape ``(n,)``."""
    active = x[:, 1] ** 2
    return division * active / (1 + active)


def drift(x: np.ndarray) -> np.ndarray:
    """Expected change of the three genes in one step, shape ``(n, 3)``."""
    s1, s2, s3 = (x**2).T
    made1 = (0.5 * s1 + 1) / (1 + 0.5 * s1 + s2 + 10 * s3 + 1)
    made2 = (s2 + 1) / (1 + 0.5 * s1 + s2 + 10 * s3 + 1)
    made3 = s3 / (1 + s3)
    return np.column_stack([made1, made2, made3]) - DECAY * x
