"""The models of a fit, each of which may be trained in another process: plain arguments in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from vgfm_sc import _anndata, methods
from vgfm_sc.core import device as devices
from vgfm_sc.core import state, training
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.scaling import Scaling
from vgfm_sc.tl import _resample, _results


class Recipe(NamedTuple):
    """What the models have in common beside the cells.

    ``rows``, ``out``: the cells of each time point to train on and, if any, to judge on, as positions in the object.
    ``numbers``: the further arguments of `vgfm_sc.core.training.train`.
    """

    rows: list[np.ndarray]
    out: list[np.ndarray] | None
    scaling: Scaling
    method: methods.Method
    numbers: Mapping[str, Any]
    device: str
    seed: int
    progress: bool


class Fitted(NamedTuple):
    """What is kept of a model.

    ``velocity``, shape ``(n_obs, d)``, and ``growth``, shape ``(n_obs,)``: at every cell and its own time.
    ``convergence``: of each coupling. ``couplings``: large, so only those of the model itself.
    """

    velocity: np.ndarray
    growth: np.ndarray
    convergence: dict[str, np.ndarray]
    history: dict[str, dict[str, np.ndarray]]
    weights: dict[str, np.ndarray]
    couplings: list[Coupling]


def model(k: int, recipe: Recipe, *parts: Any) -> Fitted:
    """Model ``k``: at 0 the model itself, trained on all cells, else one trained on cells drawn again.

    ``parts`` are those of the `Snapshots`, one by one (see `vgfm_sc.core.jobs.each`).
    """
    snapshots = _anndata.Snapshots(*parts)
    rows, counted, seed = recipe.rows, snapshots.rows, recipe.seed
    if k:
        rng = np.random.default_rng([seed, k])
        rows = counted = _resample.bootstrap(rows, rng)
        seed = int(rng.integers(2**63))
    scaling, out = recipe.scaling, recipe.out
    unitless = scaling.to_unitless(snapshots.x)
    trained = training.train(
        [unitless[cells] for cells in rows],
        [float(t) for t in scaling.to_unitless_time(snapshots.time_points)],
        [len(cells) / len(counted[0]) for cells in counted],
        None if out is None else [unitless[cells] for cells in out],
        recipe.method,
        **recipe.numbers,
        device=devices.choose(recipe.device),
        seed=seed,
        bar=lambda name, total: tqdm(total=total, desc=name, disable=not recipe.progress),
    )
    velocity, growth = _results.fields(trained, scaling, snapshots)
    return Fitted(
        velocity,
        growth,
        _results.convergence(trained.couplings),
        trained.history,
        state.weights(trained.networks),
        [] if k else trained.couplings,
    )
