"""The models of a fit, each of which may be trained in another process: plain arguments in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

import vgfm_sc
from vgfm_sc import _anndata, methods
from vgfm_sc.core import device as devices
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.course import Course
from vgfm_sc.core.dynamics import stored
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.training.checkpoint import Checkpoint
from vgfm_sc.core.training.fingerprint import fingerprint
from vgfm_sc.core.training.settings import Settings
from vgfm_sc.core.training.train import train
from vgfm_sc.tl import _progress

FEWEST = 2
"""Cells of a time point that can be coupled, or judged on."""


@dataclass(frozen=True)
class Recipe:
    """What the models have in common beside the positions of the cells.

    ``sampling``: of all cells; its rows are those to train on. ``counted``: rows of all cells that make up the totals.
    ``out``: the cells of each time point to judge on, if any. ``prior``: growth expected of every cell per unit of
    time, shape ``(n_obs,)``, if there is any. ``clones``: of every cell, shape ``(n_obs,)``, -1 in those without one,
    if barcodes are known. ``progress``: bars, if they are shown. ``checkpoint``: folder for finished parts.
    """

    sampling: _anndata.Sampling
    counted: list[np.ndarray]
    out: Sequence[np.ndarray] | None
    prior: np.ndarray | None
    clones: np.ndarray | None
    scaling: Scaling
    method: methods.Method
    settings: Settings
    device: str
    progress: _progress.Progress | None
    checkpoint: str | None


@dataclass(frozen=True)
class FittedModel:
    """What is kept of a model.

    ``velocity``, shape ``(n_obs, d)``, and ``growth``, shape ``(n_obs,)``: at every cell and its own time.
    ``convergence``: of each coupling. ``couplings``: of each condition, or of the one course there is, by interval;
    large, so only those of the model itself. ``drawn``: how often each sample was drawn for it, if samples were.
    """

    velocity: np.ndarray
    growth: np.ndarray
    convergence: dict[str, np.ndarray]
    history: dict[str, dict[str, np.ndarray]]
    weights: dict[str, np.ndarray]
    couplings: list[list[Coupling]]
    drawn: np.ndarray | None


def fitted_model(k: int, recipe: Recipe, x: np.ndarray) -> FittedModel:
    """Model ``k`` of cells at ``x``, shape ``(n_obs, d)``: 0 is trained on all cells, others on some drawn again."""
    sampling, settings, scaling = recipe.sampling, recipe.settings, recipe.scaling
    drawn = None
    if k:
        rng = np.random.default_rng([settings.seed, k])
        sampling, drawn = again(sampling, rng)
        recipe = replace(recipe, sampling=sampling, counted=sampling.rows)
        settings = replace(settings, seed=int(rng.integers(2**63)))
    spans = sampling.courses()
    courses = [unitless_course(recipe, name, x) for name in spans]
    checkpoint = None
    if recipe.checkpoint is not None:
        method = recipe.method
        versions = vgfm_sc.__version__, version("torch"), version("numpy")
        known = method.name, method.settings, method.noise, method.smooth, method.shared_growth, method.takes_rho_factor
        functions = method.coupling, method.path, method.prepare
        arrays = [array for course in courses for array in course.arrays()]
        name = fingerprint(arrays, settings, versions, recipe.device, (*known, *functions))
        checkpoint = Checkpoint(Path(recipe.checkpoint), name)
    with devices.telling_what_to_lower("training"):
        trained = train(
            courses,
            recipe.method,
            settings,
            device=devices.choose(recipe.device),
            bar=_progress.hidden if recipe.progress is None else recipe.progress.bar,
            checkpoint=checkpoint,
        )
        velocity, growth = fields(trained.networks, scaling, sampling, x)
    solved = [coupling.convergence() for of_course in trained.couplings for coupling in of_course]
    return FittedModel(
        velocity,
        growth,
        {**intervals(spans), **{name: np.asarray([report[name] for report in solved]) for name in solved[0]}},
        trained.history,
        stored.weights(trained.networks),
        [] if k else trained.couplings,
        drawn,
    )


def fields(
    networks: Networks, scaling: Scaling, sampling: _anndata.Sampling, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Velocity and growth at every cell, its own time and, if there are several, its own condition."""
    if sampling.conditions is None:
        velocity, growth = Model(networks, scaling)(sampling.time, x)
    else:
        velocity, growth = np.empty(x.shape), np.empty(len(x))
        for k in range(len(sampling.conditions.names)):
            own = sampling.conditions.codes == k
            velocity[own], growth[own] = Model(networks.under(k), scaling)(sampling.time[own], x[own])
    if not (np.isfinite(velocity).all() and np.isfinite(growth).all()):
        msg = "The trained networks give values that are not finite. Lower match_lr."
        raise FloatingPointError(msg)
    return velocity, growth


def unitless_course(recipe: Recipe, condition: str | None, x: np.ndarray) -> Course:
    """The time course as training sees it, where there are conditions that of one."""

    def course(rows: Sequence[np.ndarray]) -> _anndata.Sampling:
        return replace(recipe.sampling, rows=list(rows)).under(condition)

    sampling, scaling = course(recipe.sampling.rows), recipe.scaling
    rows, points = sampling.rows, sampling.time_points
    totals = course(recipe.counted).totals
    masses = totals / [len(cells) for cells in rows]
    unitless = scaling.to_unitless(x)
    times = [float(t) for t in scaling.to_unitless_time(points)]
    expected = None if recipe.prior is None else [recipe.prior[cells] * scaling.time_unit for cells in rows]
    return Course(
        [unitless[cells] for cells in rows],
        times,
        (totals / totals[0]).tolist(),
        (masses / masses[0]).tolist(),
        (np.diff(points) / scaling.time_unit).tolist(),
        expected,
        None if recipe.out is None else [unitless[cells] for cells in course(recipe.out).rows],
        None if recipe.method.sigma is None else scaling.wander(recipe.method.sigma, points).tolist(),
        None if recipe.clones is None else [recipe.clones[cells] for cells in rows],
    )


def intervals(courses: Mapping[str | None, _anndata.Sampling]) -> dict[str, np.ndarray]:
    """Condition and times of each coupling; without conditions they are those of the time points."""
    if None in courses:
        return {}
    points = [course.time_points for course in courses.values()]
    return {
        "condition": np.repeat(np.asarray(list(courses), dtype=str), [len(p) - 1 for p in points]),
        "time": np.concatenate([p[:-1] for p in points]),
        "to": np.concatenate([p[1:] for p in points]),
    }


def held_out(sampling: _anndata.Sampling, share: float, seed: int) -> tuple[_anndata.Sampling, list[np.ndarray] | None]:
    """The cells to train on and, by time point, a ``share`` of each group to judge on, split at random."""
    if not share:
        return sampling, None
    groups, rng = sampling.groups(), np.random.default_rng(seed)
    kept, out = [], []
    for cells, t in zip(groups.rows, sampling.time_points[groups.place], strict=True):
        n = round(share * len(cells))
        if n < FEWEST or len(cells) - n < FEWEST:
            msg = (
                f"validation={share:g} of the {len(cells)} cells at {t:g} leaves {n} to judge on and "
                f"{len(cells) - n} to train on; {FEWEST} of each are needed. Change validation, or drop the time point."
            )
            raise ValueError(msg)
        order = rng.permutation(len(cells))
        out.append(cells[np.sort(order[:n])])
        kept.append(cells[np.sort(order[n:])])
    return replace(sampling, rows=groups.joined(kept)), groups.joined(out)


def bootstrap(rows: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Each cell as often as a Poisson draw of mean 1 says: numbers of cells vary as counts do."""
    drawn = []
    for cells in rows:
        again = np.repeat(cells, rng.poisson(1.0, len(cells)))
        while len(np.unique(again)) < FEWEST:  # only with a handful of cells
            again = np.repeat(cells, rng.poisson(1.0, len(cells)))
        drawn.append(again)
    return drawn


def again(sampling: _anndata.Sampling, rng: np.random.Generator) -> tuple[_anndata.Sampling, np.ndarray | None]:
    """Cells, or where they are known samples, drawn again, with their totals; and how often each sample was drawn.

    A sample without others to draw from has its cells drawn again, and so have groups of which too few cells are left.
    """
    groups, samples = sampling.groups(), sampling.samples
    if samples is None:
        return replace(sampling, rows=groups.joined(bootstrap(groups.rows, rng))), None
    drawn, rows = samples.drawn(groups, rng), []
    for cells in groups.rows:
        times = drawn[samples.codes[cells]]
        kept = np.repeat(cells, np.where(times == _anndata.BY_CELLS, rng.poisson(1.0, len(cells)), times))
        rows.append(kept if len(np.unique(kept)) >= FEWEST else bootstrap([cells], rng)[0])
    given = sampling.given
    if samples.sizes is not None:
        given = groups.by_condition([samples.total(cells, drawn) for cells in groups.rows], sampling.conditions)
    return replace(sampling, rows=groups.joined(rows), given=given), drawn
