"""The models of a fit, each of which may be trained in another process: plain arguments in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

import vgfm_sc
from vgfm_sc import _anndata, methods
from vgfm_sc.core import device as devices
from vgfm_sc.core import state, training
from vgfm_sc.core.checkpoint import Checkpoint, fingerprint
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.scaling import Scaling
from vgfm_sc.tl import _resample, _results


class Recipe(NamedTuple):
    """What the models have in common beside the cells.

    ``rows``, ``out``: the cells of each time point to train on and, if any, to judge on, as positions in the object.
    ``prior``: growth expected of every cell per unit of time, shape ``(n_obs,)``, if there is any.
    ``numbers``: the further arguments of `vgfm_sc.core.training.train`. ``checkpoint``: folder for finished parts.
    """

    rows: list[np.ndarray]
    out: list[np.ndarray] | None
    prior: np.ndarray | None
    scaling: Scaling
    method: methods.Method
    numbers: Mapping[str, Any]
    device: str
    seed: int
    progress: bool
    checkpoint: str | None


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
    scaling, out, prior = recipe.scaling, recipe.out, recipe.prior
    totals = _anndata.read_totals(snapshots._replace(rows=counted))
    masses = totals / [len(cells) for cells in rows]
    unitless = scaling.to_unitless(snapshots.x)
    times = [float(t) for t in scaling.to_unitless_time(snapshots.time_points)]
    seen = [unitless[cells] for cells in rows]
    unseen = None if out is None else [unitless[cells] for cells in out]
    expected = None
    if prior is not None:  # per unit of time, and the networks' is that of the interval to come; the last has none
        units = np.append(np.diff(snapshots.time_points) / np.diff(times), scaling.time_unit)
        expected = [prior[cells] * unit for cells, unit in zip(rows, units, strict=True)]
    checkpoint = None
    if recipe.checkpoint is not None:
        known = [np.asarray(times), totals, masses, *seen, *(expected or ()), *(unseen or ())]
        name = fingerprint(known, {**_settings(recipe), "seed": seed, "parts": (expected is None, unseen is None)})
        checkpoint = Checkpoint(Path(recipe.checkpoint), name)
    with devices.telling_what_to_lower():
        trained = training.train(
            seen,
            times,
            (totals / totals[0]).tolist(),
            unseen,
            recipe.method,
            masses=(masses / masses[0]).tolist(),
            prior=expected,
            **recipe.numbers,
            device=devices.choose(recipe.device),
            seed=seed,
            bar=lambda name, total: tqdm(total=total, desc=name, disable=not recipe.progress),
            checkpoint=checkpoint,
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


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What training depends on beside the cells; of functions, where they stand and what `functools.partial` binds."""
    method = recipe.method
    return {
        "versions": (vgfm_sc.__version__, version("torch")),
        "device": recipe.device,
        "numbers": sorted(recipe.numbers.items(), key=lambda item: item[0]),
        "method": (method.name, sorted(method.settings.items()), method.noise, method.smooth),
        "functions": [_place(f) for f in (method.coupling, method.path)],
    }


def _place(function: Any) -> tuple:
    if isinstance(function, partial):
        return *_place(function.func), repr(function.args), repr(sorted(function.keywords.items()))
    return function.__module__, getattr(function, "__qualname__", type(function).__qualname__)
