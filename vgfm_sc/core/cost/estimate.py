"""What a fit costs: from its sizes, and from what a few of its operations take on the machine at hand.

The numbers below say how many of these operations there are. They depend on the code, not on the machine, and were
fitted to the output of `tests/benchmarks/cost.py`. When a stage is made faster, run that, and multiply the numbers of
the stage by the ratio of measured to estimated seconds that it prints. For a coupling these are the first three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

COARSE_PASSES = 30
"""Passes over all pairs that solving at one large eps after another takes, Newton's steps on few pairs among them."""

FULL_PASSES = 28
"""The same for the last eps of snapshots of more than ``coarse`` cells, which start from a subsample of so many."""

SOLVE_CALLS = 3_000
"""Operations of which a coupling consists, however few cells there are."""

SIDE_BY_SIDE = 1.5
"""How many times as fast threads solve several couplings as one does: they share memory, and the last one waits."""

MATCH_STEPS = 1.15
"""A step of matching in steps on a batch that is drawn already: batches are drawn and paths bent to them."""

RUNGE_KUTTA_STEPS = 4
"""Per interval in a step of fitting. Between 1 and 8, depending on the data; nobody knows before, nor whether there are
such steps at all."""

CHECKS = 0.15
"""Judgements of the fitting stage, as a share of a simulation of as many cells in each of its steps."""

NUMBERS_A_PAIR = 60
"""Bytes held at once for each pair of a coupling that carries mass: its cost, mass and place, and copies of them."""

PAIRS_A_CELL = 300
"""Pairs that carry mass, per cell of a coupling."""

BLOCK_COPIES = 4
"""Blocks of costs that are held at once."""

MATRICES = 3
"""Matrices of distances between two time points that are held at once."""

WORKSPACE = 100e6
"""Bytes that libraries take for themselves once they compute."""


class Problem(NamedTuple):
    """``times`` plans, one after another, between ``n`` and ``m`` cells."""

    times: int
    n: int
    m: int


class Sizes(NamedTuple):
    """Of one model.

    ``couplings``: of each course, what is solved for one coupling after another. ``cells``: of each course, cells by
    time point. ``fitted``, ``judged``: cells of a snapshot that fitting compares in a step, and when it judges.
    ``n_weights``: of all networks. ``n_units``: numbers that networks keep of a cell to go backward. ``block``: pairs
    whose costs are held at once. ``coarse``: cells of a snapshot that eps is lowered on. ``side_by_side``: couplings
    that are solved at a time.
    """

    couplings: Sequence[Sequence[Problem]]
    cells: Sequence[Sequence[int]]
    n_dims: int
    n_weights: int
    n_units: int
    match_steps: int
    match_size: int
    fit_steps: int
    fitted: int
    judged: int
    block: int
    coarse: int
    side_by_side: int = 1


class Pace(NamedTuple):
    """Seconds of operations.

    ``call``: of one on next to nothing. ``pair``: of a pass over all pairs, for each. ``match_step``: of a step of
    matching. ``integration``: of a Runge-Kutta step of a cell, forward and backward. ``distance``: of the energy
    distance, forward and backward, for each pair of cells.
    """

    call: float
    pair: float
    match_step: float
    integration: float
    distance: float


class Cost(NamedTuple):
    """Seconds of each coupling, by course, and of the other stages; and bytes beside what was held before."""

    couplings: list[list[float]]
    matching: float
    fitting: float
    memory: float

    @property
    def coupling(self) -> float:
        """Seconds of all couplings."""
        return sum(map(sum, self.couplings))

    @property
    def seconds(self) -> float:
        """Of all stages, one after another."""
        return self.coupling + self.matching + self.fitting


def operations(sizes: Sizes) -> float:
    """Multiplications of the whole, in closed form: what tells a fit of a second from one that is worth a probe."""
    unit = Pace(
        0.0, 4 * (sizes.n_dims + 10), 6 * sizes.n_weights * sizes.match_size, 24 * sizes.n_weights, 9 * sizes.n_dims
    )
    return estimated(sizes, unit).seconds


def estimated(sizes: Sizes, pace: Pace) -> Cost:
    """What the stages take at a ``pace``."""
    faster = SIDE_BY_SIDE if sizes.side_by_side > 1 else 1.0
    couplings = [
        [_solved(problem, sizes.coarse, pace) / faster for problem in of_course] for of_course in sizes.couplings
    ]
    matching = MATCH_STEPS * sizes.match_steps * pace.match_step
    a_step = sum(
        _compared(cells, sizes.fitted, pace) + CHECKS * _compared(cells, sizes.judged, pace) for cells in sizes.cells
    )
    return Cost(couplings, matching, sizes.fit_steps * a_step, _memory(sizes))


def _solved(problem: Problem, coarse: int, pace: Pace) -> float:
    """Seconds of plans between two snapshots."""
    times, n, m = problem
    passes = COARSE_PASSES * min(n, coarse) * min(m, coarse)
    if max(n, m) > coarse:
        passes += FULL_PASSES * n * m
    return times * (SOLVE_CALLS * pace.call + passes * pace.pair)


def _compared(cells: Sequence[int], most: int, pace: Pace) -> float:
    """Seconds of simulating at ``most`` so many cells of the first snapshot and comparing them with the later ones."""
    first, *later = (min(n, most) for n in cells)
    pairs = sum(first * n + first**2 + n**2 / 3 for n in later)  # among observed cells nothing goes backward
    return len(later) * RUNGE_KUTTA_STEPS * first * pace.integration + pairs * pace.distance


def _memory(sizes: Sizes) -> float:
    """Bytes at the most demanding moment."""
    problems = [problem for of_course in sizes.couplings for problem in of_course]
    coupling = sizes.side_by_side * max(
        BLOCK_COPIES * 8 * min(p.n * p.m, sizes.block) + NUMBERS_A_PAIR * min(p.n * p.m, PAIRS_A_CELL * (p.n + p.m))
        for p in problems
    )
    kept = max(
        (len(cells) - 1) * (4 * RUNGE_KUTTA_STEPS * min(cells[0], sizes.fitted) * sizes.n_units)
        for cells in sizes.cells
    )
    matrices = MATRICES * max(min(n, sizes.judged) for cells in sizes.cells for n in cells) ** 2
    fitting = 4 * (kept + matrices) if sizes.fit_steps else 0.0
    held = 8 * sizes.n_dims * sum(map(sum, sizes.cells))
    return WORKSPACE + held + max(coupling, fitting)
