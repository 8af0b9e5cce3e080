"""Integrate position and log mass along the networks, forward or backward in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Field = Callable[[float, Tensor], tuple[Tensor, Tensor]]
"""(t, x of shape (n, d)) -> velocity (n, d), growth (n,)."""

# Dormand and Prince (1980), order 5 with an embedded order 4
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

CHUNK_CELLS = 16_384
"""Cells evaluated or simulated at once: bounds memory, and beyond it a larger batch is no faster."""

MAX_STEPS = 2000
"""Steps, taken or refused, before a field is called too rough: trained networks need some tens an interval."""


@torch.no_grad()
def integrate(field: Field, x: Tensor, log_m: Tensor, times: Sequence[float], *, tol: float) -> tuple[Tensor, Tensor]:
    """Follow ``field`` from ``times[0]`` through the others, increasing or decreasing.

    Steps adapt so that the error of each, root mean square over all particles and coordinates, stays below
    ``tol`` (units of x; for log mass as a number).

    Returns
    -------
    Positions, shape ``(len(times), n, d)``, and log masses, shape ``(len(times), n)``.
    """
    xs, log_ms = [x], [log_m]
    slopes = field(times[0], x)
    span = abs(times[-1] - times[0])
    step, tried = 0.1 * span, 0
    for start, stop in zip(times[:-1], times[1:], strict=True):
        sign, t = (1.0 if stop >= start else -1.0), start
        while abs(stop - t) > 1e-12 * span:
            h, tried = min(step, abs(stop - t)), tried + 1
            if tried > MAX_STEPS:
                msg = f"The flow could not be integrated past t = {t:g} in {MAX_STEPS} steps; the last was {step:.1e}."
                raise FloatingPointError(msg)
            x_new, log_m_new, slopes_new, error = _step(field, t, x, log_m, slopes, sign * h)
            ratio = error / tol
            if ratio <= 1:
                t = stop if h == abs(stop - t) else t + sign * h
                x, log_m, slopes = x_new, log_m_new, slopes_new
                step = max(step, h * _factor(ratio)) if h < step else h * _factor(ratio)
            else:
                step = h * _factor(ratio)
        xs.append(x)
        log_ms.append(log_m)
    return torch.stack(xs), torch.stack(log_ms)


def _factor(ratio: float) -> float:
    """Change of step for an error of ``ratio`` times the tolerance; a NaN shrinks it."""
    if not ratio == ratio:
        return 0.2
    return min(5.0, max(0.2, 0.9 * ratio**-0.2)) if ratio > 0 else 5.0


def _step(field: Field, t: float, x: Tensor, log_m: Tensor, slopes: tuple[Tensor, Tensor], h: float):
    v, g = [slopes[0]], [slopes[1]]
    for node, weights in zip(NODES, STAGES, strict=True):
        x_new = x + h * sum(w * k for w, k in zip(weights, v, strict=True))
        v_k, g_k = field(t + node * h, x_new)
        v.append(v_k)
        g.append(g_k)
    log_m_new = log_m + h * sum(w * k for w, k in zip(STAGES[-1], g, strict=False))
    off = [h * torch.stack([w * k for w, k in zip(ERROR, slope, strict=True)]).sum(0) for slope in (v, g)]
    error = max(float(part.square().mean().sqrt()) for part in off)
    return x_new, log_m_new, (v[-1], g[-1]), error


def runge_kutta(
    field: Field, x: Tensor, log_m: Tensor, start: float, stop: float, n_steps: int
) -> tuple[Tensor, Tensor]:
    """The classical method of order 4 with equal steps, differentiable: what training integrates."""
    h = (stop - start) / n_steps
    for k in range(n_steps):
        t = start + k * h
        v1, g1 = field(t, x)
        v2, g2 = field(t + h / 2, x + h / 2 * v1)
        v3, g3 = field(t + h / 2, x + h / 2 * v2)
        v4, g4 = field(t + h, x + h * v3)
        x, log_m = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4), log_m + h / 6 * (g1 + 2 * g2 + 2 * g3 + g4)
    return x, log_m
