from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _checks
from vgfm_sc.datasets._toggle_switch import silenced

GENES = {
    "stem": "delays both fates",
    "signal_a": "activates driver_a",
    "signal_b": "activates driver_b",
    "repressor_b": "represses driver_b",
    "driver_a": "activates itself, represses driver_b",
    "driver_b": "activates itself, represses driver_a",
    "cycle": "divides cells",
    "marker_a": "none",
    "marker_b": "none",
    "bystander": "none",
}
"""Genes, and what each acts on."""

START = {"stem": 2.0, "signal_a": 1.0, "signal_b": 1.2, "repressor_b": 0.8, "bystander": 1.0}
"""Mean of each gene at time 0; the others start near 0. Signals, repressor and bystander return to it slowly."""

SPREAD = 0.3
"""Standard deviation of log expression at time 0: cells differ before they decide."""

NOISE = 0.12
"""Per square root of unit time."""

DECAY, SLOW = 2.0, 0.2
"""Per unit of time: of products, and of the way back to `START`."""

N_UNITS, STEPS_PER_UNIT = 4, 20
"""Units of time, and Euler-Maruyama steps in each."""

COMMITTED = 0.7
"""Level of a driver from which on a cell is of its type."""

DAUGHTER_SPREAD = 0.02


def regulatory_network(
    *, n_cells: int = 400, division: float = 0.5, knockout: str | Sequence[str] | None = None, seed: int = 0
) -> AnnData:
    """A small gene network that decides between two fates, one of which divides; knock-outs are simulated too.

    Two drivers activate themselves and repress each other, so that a cell ends with one of them high. Which one
    depends on three genes upstream, in whose levels cells differ from the start, and on chance. On branch a ``cycle``
    rises and cells divide. Each fate has a marker that does nothing, and so does a bystander that no gene acts on.
    The equations are those of genes that compete for promoters, with additive noise, as in
    `vgfm_sc.datasets.toggle_switch`.

    Parameters
    ----------
    n_cells
        Cells at time 0.
    division
        Highest rate of division, per unit of time.
    knockout
        One gene or several that are held at 0 from the start. With the same ``seed``, all other genes start as they
        do without.
    seed
        Of the simulation.

    Returns
    -------
    Annotated data with ``X``, shape ``(n_obs, 10)``, the genes, and

    ``obs["time"]``
        0, 1, 2, 3, 4.
    ``obs["branch"]``, ``obs["cell_type"]``
        ``"a"`` or ``"b"``, by the higher driver; and ``"progenitor"`` where neither driver is high yet.
    ``obs["true_growth"]``
        Expected d log m/dt per unit of time.
    ``var["acts_on"]``
        What the gene does to others or to the cell.
    ``obsm["X_genes"]``, ``obsm["true_velocity"]``
        The genes, and their expected change per unit of time; shape ``(n_obs, 10)``.
    """
    _checks.whole("n_cells", n_cells)
    _checks.real("division", division, zero=True)
    names = list(GENES)
    silent = silenced(knockout, names)
    rng = np.random.default_rng(seed)
    centre = np.array([START.get(name, 0.1) for name in names])
    x = centre * np.exp(SPREAD * rng.standard_normal((n_cells, len(names))))
    x = np.where(silent, 0, x)
    recorded, h = [x], 1 / STEPS_PER_UNIT
    for step in range(1, N_UNITS * STEPS_PER_UNIT + 1):
        dividing = rng.random(len(x)) < h * growth(x, division)
        x = x + h * drift(x) + NOISE * np.sqrt(h) * rng.standard_normal(x.shape)
        daughters = x[dividing] + DAUGHTER_SPREAD * rng.standard_normal((int(dividing.sum()), len(names)))
        x = np.where(silent, 0, np.maximum(np.concatenate([x, daughters]), 0))
        if step % STEPS_PER_UNIT == 0:
            recorded.append(x)
    state = np.concatenate(recorded)
    a, b = (state[:, names.index(f"driver_{fate}")] for fate in "ab")
    branch = np.where(a > b, "a", "b")
    obs = pd.DataFrame(
        {
            "time": np.repeat(np.arange(N_UNITS + 1.0), [len(x) for x in recorded]),
            "branch": pd.Categorical(branch, ["a", "b"]),
            "cell_type": pd.Categorical(
                np.where(np.maximum(a, b) < COMMITTED, "progenitor", branch), ["progenitor", "a", "b"]
            ),
            "true_growth": growth(state, division),
        },
        index=[f"cell{k}" for k in range(len(state))],
    )
    adata = AnnData(state.astype(np.float32), obs=obs, var=pd.DataFrame({"acts_on": GENES}, index=names))
    adata.obsm["X_genes"] = state
    adata.obsm["true_velocity"] = np.where(silent, 0, drift(state))
    return adata


def growth(x: np.ndarray, division: float) -> np.ndarray:
    """D log m/dt, shape ``(n,)``."""
    cycle = x[:, list(GENES).index("cycle")] ** 2
    return division * cycle / (0.5 + cycle)


def drift(x: np.ndarray) -> np.ndarray:
    """Expected change of the genes per unit of time, shape ``(n, 10)``."""
    stem, up_a, up_b, repressor, a, b, cycle, marker_a, marker_b, bystander = x.T
    squared = {"a": a**2, "b": b**2, "up_a": 0.5 * up_a**2, "up_b": 0.5 * up_b**2}
    made_a = (squared["up_a"] + 2 * squared["a"]) / (
        1 + squared["up_a"] + 2 * squared["a"] + 4 * squared["b"] + stem**2
    )
    made_b = (squared["up_b"] + 2 * squared["b"]) / (
        1 + squared["up_b"] + 2 * squared["b"] + 4 * squared["a"] + stem**2 + repressor**2
    )
    on_a, on_b = (s / (0.5 + s) for s in (squared["a"], squared["b"]))
    upstream = [SLOW * (START[n] - v) for n, v in (("signal_a", up_a), ("signal_b", up_b), ("repressor_b", repressor))]
    rest = [2 * DECAY * made_a - DECAY * a, 2 * DECAY * made_b - DECAY * b]
    rest += [2 * DECAY * on - DECAY * level for on, level in ((on_a, cycle), (on_a, marker_a), (on_b, marker_b))]
    return np.column_stack([-0.8 * stem, *upstream, *rest, SLOW * (START["bystander"] - bystander)])
