"""What a change of genes does to a population: the same cells followed with it and without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vgfm_sc.core.dynamics import chance
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.neighbours import nearest
from vgfm_sc.core.reading.effects import Effects, Run, effects
from vgfm_sc.core.reading.fates import STEP
from vgfm_sc.core.reading.projection import NEIGHBOURS, carry, searched


class Change(NamedTuple):
    """Genes, and what is made of them: the value of each becomes ``scale * value + shift``.

    A position has the values ``level + y @ weights.T``, where ``y`` is the position from the centre along the axes
    trained on, in units of the representation. ``weights``: shape ``(q, n_axes)``; the others: shape ``(q,)``.
    """

    weights: np.ndarray
    level: np.ndarray
    scale: np.ndarray
    shift: np.ndarray

    def values(self, x: np.ndarray, scaling: Scaling) -> np.ndarray:
        """Of the genes at positions ``x``, shape ``(n, d)``: shape ``(n, q)``."""
        return self.level + along(x, scaling) @ self.weights.T

    def wanted(self, values: np.ndarray) -> np.ndarray:
        """What becomes of ``values``, shape ``(n, q)``."""
        return self.scale * values + self.shift

    def made(self, x: np.ndarray, scaling: Scaling) -> np.ndarray:
        """The nearest positions to ``x`` at which the genes have the values wanted, shape ``(n, d)``."""
        now = self.values(x, scaling)
        y = (self.wanted(now) - now) @ np.linalg.pinv(self.weights).T
        return x + scaling.displacement(y / scaling.length)

    @property
    def directions(self) -> np.ndarray:
        """Orthonormal ones that span those of the genes, shape ``(q, n_axes)``."""
        return np.linalg.qr(self.weights.T)[0].T


class Group(NamedTuple):
    """Cells ``x``, shape ``(n, d)``, followed by one ``model``, and how often each replicate drew each: ``(r, n)``."""

    model: Model
    x: np.ndarray
    counts: np.ndarray


class Ends(NamedTuple):
    """Observed cells of the last time, shape ``(m, d)``, and their clusters as shares of 1, ``(m, n_clusters)``."""

    x: np.ndarray
    shares: np.ndarray


class Trial(NamedTuple):
    """How cells are followed: through ``times`` to the clusters of ``ends``; `Model.simulate` says what ``tol`` is.

    ``held``: whether changed cells stay changed. ``noise``: standard deviation of random steps per axis and square root
    of unit time, in units of the representation. ``seed``: of these, and of the cells searched for neighbours.
    """

    times: Sequence[float] | np.ndarray
    ends: Ends
    held: bool
    noise: float
    tol: float
    seed: int


class Course(NamedTuple):
    """Cells through the times of a trial: positions, shape ``(n_times, n, d)``, and mass, shape ``(n_times, n)``."""

    positions: np.ndarray
    mass: np.ndarray


def along(x: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Positions from the centre along the axes trained on, in units of the representation, shape ``(n, n_axes)``."""
    return scaling.to_unitless(x) * scaling.length


def courses(model: Model, x: np.ndarray, change: Change, trial: Trial) -> tuple[Course, Course]:
    """Cells at ``x``, shape ``(n, d)``, unchanged and changed, with the same random numbers."""
    if not trial.noise:
        return unchanged(model, x, trial), _changed(model, x, change, trial)
    directions = change.directions if trial.held else np.empty((0, change.weights.shape[1]))
    both = chance.follow(
        model,
        np.concatenate([x, change.made(x, model.scaling)]),
        trial.times,
        noise=trial.noise,
        branching=False,
        step=STEP,
        seed=trial.seed,
        twins=directions,
    )
    first, second = slice(len(x)), slice(len(x), None)
    return (
        Course(both.positions[:, first], both.mass[:, first]),
        Course(both.positions[:, second], both.mass[:, second]),
    )


def unchanged(model: Model, x: np.ndarray, trial: Trial) -> Course:
    """Without a change and without noise."""
    return Course(*model.simulate(x, trial.times, tol=trial.tol))


def _changed(model: Model, x: np.ndarray, change: Change, trial: Trial) -> Course:
    held = change.directions if trial.held else None
    return Course(*model.simulate(change.made(x, model.scaling), trial.times, tol=trial.tol, held=held))


def run_of(model: Model, course: Course, trial: Trial) -> Run:
    """What is compared of a course."""
    scaling, last = model.scaling, np.asarray(course.positions[-1], dtype=float)
    shares = carry(trial.ends.x, trial.ends.shares, last, scaling, trial.seed)
    away = outside(last, trial.ends.x, scaling, trial.seed)
    return Run(np.asarray(course.mass, dtype=float), along(last, scaling), shares, away)


def baseline(groups: Sequence[Group], trial: Trial) -> list[Run] | None:
    """Runs without a change, which all changes are compared with; `None` with noise, as each change has its own."""
    if trial.noise:
        return None
    return [run_of(group.model, unchanged(group.model, group.x, trial), trial) for group in groups]


def perturbed(groups: Sequence[Group], before: Sequence[Run] | None, change: Change, trial: Trial) -> Effects:
    """Effects of a change on groups; ``before``: their `baseline`."""
    found = []
    for k, group in enumerate(groups):
        if before is None:
            run, again = (run_of(group.model, c, trial) for c in courses(group.model, group.x, change, trial))
        else:
            run, again = before[k], run_of(group.model, _changed(group.model, group.x, change, trial), trial)
        found.append(effects(run, again, group.counts, change.directions))
    return Effects(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def outside(points: np.ndarray, x: np.ndarray, scaling: Scaling, seed: int) -> np.ndarray:
    """Whether ``points``, shape ``(n, d)``, lie where there are no cells ``x``, shape ``(m, d)``; shape ``(n,)``.

    There the nearest cell is farther away than that cell's own neighbours reach. Of many cells a sample is searched.
    """
    cells = scaling.to_unitless(x[searched(x, seed)]).astype(np.float32)
    distance, index = nearest(scaling.to_unitless(points).astype(np.float32), cells, 1)
    met, which = np.unique(index[:, 0], return_inverse=True)
    reach = nearest(cells[met], cells, min(NEIGHBOURS + 1, len(cells)))[0][:, -1]
    return distance[:, 0] > reach[which]
