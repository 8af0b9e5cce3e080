"""Integrate position and log mass along the networks, forward or backward in time, free or held to some values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Field = Callable[[float, Tensor], tuple[Tensor, Tensor]]
"""(t, x of shape (n, d)) -> velocity (n, d), growth (n,)."""

# Dormand and Prince (1980), order 5 with an embedded order 4; the seventh stage is the next step's first. As in
# `scipy.integrate.RK45`, which takes long to import.
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
TABLEAU = torch.tensor(
    [
        [1 / 5, 0, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
        [-71 / 57600, 0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40],
    ],
    dtype=torch.float64,
)
"""Row k - 1: what stage k takes of the slopes before it. Last row: the error."""

BETWEEN = np.array(
    [
        [1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
        [0, 0, 0, 0],
        [0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
        [0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
        [0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
        [0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
        [0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
    ]
)
"""The continuous extension of order 4: what a share s of a step takes of each slope, by powers of s from the first."""

BLOCK_CELLS = 16_384
"""Cells evaluated or simulated at once: bounds memory, and beyond it a larger batch is no faster."""

SHORTEST = 1e-12
"""Of the whole span: what is left is not worth a step of its own."""

MAX_STEPS = 2000
"""Steps, taken or refused, from one time to the next before a field is called too rough: trained networks need some
tens an interval."""


def across(field: Field, directions: Tensor) -> Field:
    """``field`` without motion along orthonormal ``directions``, shape ``(q, d)``: what a cell has there it keeps.

    Steps are sums of velocities, so cells that start on a plane across the directions stay on it, in every stage too.
    """

    def held(t: float, x: Tensor) -> tuple[Tensor, Tensor]:
        v, g = field(t, x)
        return v - (v @ directions.T) @ directions, g

    return held


@torch.no_grad()
def integrate(field: Field, x: Tensor, log_m: Tensor, times: Sequence[float], *, tol: float) -> tuple[Tensor, Tensor]:
    """Follow ``field`` from ``times[0]`` through the others, increasing or decreasing.

    Steps adapt so that the error of each, root mean square over all particles and coordinates, stays below
    ``tol`` (units of x; for log mass as a number). Times within a step are interpolated, so that asking for many
    costs no more evaluations of ``field``.

    Returns
    -------
    Positions, shape ``(len(times), n, d)``, and log masses, shape ``(len(times), n)``.
    """
    last, t = times[-1], times[0]
    state = torch.cat([x, log_m[:, None]], dim=1)  # position and log mass side by side: one array to step with
    found = state.new_empty(len(times), *state.shape)
    found[0] = state
    slopes = state.new_empty(len(NODES) + 1, *state.shape)
    _slope(field, t, state, slopes[0])
    tableau = TABLEAU.to(state)
    span, direction = abs(last - t), 1.0 if last >= t else -1.0
    h, k, tried = 0.1 * span, 1, 0
    while tried < MAX_STEPS:
        tried += 1
        while k < len(times) and times[k] == t:
            found[k] = state
            k, tried = k + 1, 0
        if k == len(times):
            return found[..., :-1], found[..., -1]
        ends = h >= abs(last - t) - SHORTEST * span
        step = last - t if ends else direction * h
        new, error = _step(field, t, state, slopes, step, tableau * step)
        ratio = error / tol
        if ratio <= 1:
            t_new = last if ends else t + step
            passed = k
            while passed < len(times) and direction * (t_new - times[passed]) > 0:
                passed += 1
            if passed > k:
                found[k:passed] = _between(state, slopes, step, [(u - t) / step for u in times[k:passed]])
                k, tried = passed, 0
            t, state = t_new, new
            slopes[0] = slopes[-1]
        h = abs(step) * _factor(ratio)
    msg = f"The flow could not be integrated past t = {t:g} in {MAX_STEPS} steps; the last was {h:.1e}."
    raise FloatingPointError(msg)


def _slope(field: Field, t: float, state: Tensor, out: Tensor) -> None:
    v, g = field(t, state[:, :-1])
    torch.cat([v, g[:, None]], dim=1, out=out)


def _factor(ratio: float) -> float:
    """Change of step for an error of ``ratio`` times the tolerance; a NaN shrinks it."""
    if not ratio == ratio:
        return 0.2
    return min(5.0, max(0.2, 0.9 * ratio**-0.2)) if ratio > 0 else 5.0


def _step(field: Field, t: float, state: Tensor, slopes: Tensor, h: float, tableau: Tensor) -> tuple[Tensor, float]:
    """The state after ``h``, by `TABLEAU` times ``h``, and the error of it; slopes are filled in behind the first."""
    flat, along, new = state.flatten(), slopes.flatten(1).T, state
    for k, node in enumerate(NODES, start=1):
        new = torch.addmv(flat, along[:, :k], tableau[k - 1, :k]).view_as(state)
        _slope(field, t + node * h, new, slopes[k])
    off = torch.mv(along, tableau[-1]).view_as(state).square().mean(dim=0)
    return new, float(torch.maximum(off[:-1].mean(), off[-1]).sqrt())


def _between(state: Tensor, slopes: Tensor, h: float, shares: Sequence[float]) -> Tensor:
    """States at ``shares`` of a step: by the continuous extension."""
    s = np.asarray(shares)
    weights = (s[:, None] ** np.arange(1, 5)) @ BETWEEN.T
    return torch.addmm(state.flatten(), torch.as_tensor(weights).to(state), slopes.flatten(1), alpha=h).view(
        len(s), *state.shape
    )


def runge_kutta(
    field: Field, x: Tensor, log_m: Tensor, start: float, stop: float, n_steps: int
) -> tuple[Tensor, Tensor]:
    """The classical method of order 4 with equal steps, differentiable: what training integrates."""
    h = (stop - start) / n_steps
    for k in range(n_steps):
        t = start + k * h
        v1, g1 = field(t, x)
        v2, g2 = field(t + h / 2, x.add(v1, alpha=h / 2))
        v3, g3 = field(t + h / 2, x.add(v2, alpha=h / 2))
        v4, g4 = field(t + h, x.add(v3, alpha=h))
        for share, v, g in ((1, v1, g1), (2, v2, g2), (2, v3, g3), (1, v4, g4)):
            x, log_m = x.add(v, alpha=share * h / 6), log_m.add(g, alpha=share * h / 6)
    return x, log_m
