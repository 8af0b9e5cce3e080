"""The process of branching: how a cell moves and multiplies, and what a treatment does to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PROGRESS_SPEED = 1.0
"""Along the first axis, per unit of time."""

FORK = 1.0
"""Progress at which the two fates part."""

SEPARATION = 2.0
"""Half the distance of the two fates, on the second axis."""

PARTING_RATE = 2.5
"""Of the second coordinate beyond the fork, per unit of time."""

SETTLING_RATE = 0.7
"""Of the other axes towards 0, per unit of time."""

GROWTH = {"progenitor": 0.2, "fate_a": 0.8, "fate_b": 0.0}
"""d log m/dt of each type where it is settled."""

PUSH = 0.173
"""Of treated cells along the second axis before the fork, per unit of time: 20% more of them come to the side of a."""


class Process(NamedTuple):
    """What differs between conditions.

    ``rate_a``: growth of fate a where it is settled. ``push``: velocity along the second axis before the fork.
    """

    rate_a: float = GROWTH["fate_a"]
    push: float = 0.0


CONTROL = Process()

APART = 0.05
"""Standard deviation between samples: of the log growth of fate a, of the push in units of `PUSH`."""

SIZES_APART = 0.1
"""Standard deviation of the log size of samples."""

TREATED = {"growth": Process(rate_a=2 * GROWTH["fate_a"]), "fate": Process(push=PUSH), "none": CONTROL}
"""The process of treated cells."""


def varied(process: Process, rng: np.random.Generator) -> tuple[Process, float]:
    """The process of one sample, and how many times as many cells it has as the mean sample."""
    a, b, size = rng.standard_normal(3) * (APART, APART, SIZES_APART)
    return Process(process.rate_a * np.exp(a), process.push + PUSH * b), float(np.exp(size))


def velocity(state: np.ndarray, process: Process = CONTROL) -> np.ndarray:
    """Per unit of time, shape ``(n, d)``: on along the first axis, apart on the second past the fork."""
    v = -SETTLING_RATE * state
    v[:, 0] = PROGRESS_SPEED
    y = state[:, 1]
    past = _past_fork(state)
    v[:, 1] = PARTING_RATE * past * y * (1 - (y / SEPARATION) ** 2) + process.push * (1 - past)
    return v


def growth(state: np.ndarray, process: Process = CONTROL) -> np.ndarray:
    """D log m/dt, shape ``(n,)``: that of the progenitor before the fork, of the nearer fate after it."""
    nearer_a = 1 / (1 + np.exp(-4 * state[:, 1] / SEPARATION))
    fate = process.rate_a * nearer_a + GROWTH["fate_b"] * (1 - nearer_a)
    past = _past_fork(state)
    return (1 - past) * GROWTH["progenitor"] + past * fate


def _past_fork(state: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-6 * (state[:, 0] - FORK)))


def follow(state: np.ndarray, duration: float, process: Process = CONTROL) -> tuple[np.ndarray, np.ndarray]:
    """State and log mass after ``duration``: classical Runge-Kutta in steps of at most 0.02."""
    n_steps = int(np.ceil(duration / 0.02))
    h, log_m = duration / max(1, n_steps), np.zeros(len(state))
    for _ in range(n_steps):
        v1 = velocity(state, process)
        s2 = state + h / 2 * v1
        v2 = velocity(s2, process)
        s3 = state + h / 2 * v2
        v3 = velocity(s3, process)
        s4 = state + h * v3
        grown = [growth(at, process) for at in (state, s2, s3, s4)]
        log_m = log_m + h / 6 * (grown[0] + 2 * grown[1] + 2 * grown[2] + grown[3])
        state = state + h / 6 * (v1 + 2 * v2 + 2 * v3 + velocity(s4, process))
    return state, log_m
