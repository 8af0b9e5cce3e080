"""Follow cells that wander, divide and die.

With noise, dx = v dt + noise dB. Over a step h, with a standard normal number z for each axis, a cell at x goes to

    x + h/2 (v(t, x) + v(t + h, x')) + noise sqrt(h) z,    x' = x + h v(t, x) + noise sqrt(h) z,

the stochastic Heun method, whose means err by order h^2 where noise is the same everywhere (:cite:p:`Kloeden92`, 15.1).
Its log mass grows by G = h/2 (g(t, x) + g(t + h, x')).

With branching, mass is a number of cells. A cell divides at the rate max(g, 0) and dies at the rate max(-g, 0): of all
birth-death processes that grow at the rate g on average, the one with the fewest events. A step with G > 0 leaves k
cells with probability exp(-G) (1 - exp(-G))^(k - 1), one with G < 0 leaves the cell alive with probability exp(G)
(:cite:p:`Kendall48`). Both have the mean exp(G), so the expected number of cells is the deterministic mass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.networks import Networks

MOST_NUMBERS = 2**29
"""Coordinates of all paths at all times kept: 2 GB in single precision, twice that while they are put together."""

ROUNDING = 1e-9
"""Of a step: a time that lies this little beyond the last step is not worth one of its own."""

CLOCK_READINGS = 64
"""Where the clock is read between two times for the fastest it goes."""


class Paths(NamedTuple):
    """One column for each cell that ever lived, the starting cells first and then in order of birth.

    ``positions``: float32, shape ``(n_times, n, d)``; before its birth those of its mother, after its death where it
    died. ``mass``: float32, shape ``(n_times, n)``; with branching 1 while it lives, else 0. ``parent``: the column of
    its mother, -1 for starting cells, shape ``(n,)``. ``founder``: the starting cell it descends from, shape ``(n,)``.
    """

    positions: np.ndarray
    mass: np.ndarray
    parent: np.ndarray
    founder: np.ndarray


class _Population:
    """Columns as in `Paths`, so far: where each is or died, who lives, mothers, and log mass without branching.

    ``x``: unitless, along the axes trained on. ``across``: how far noise has led across them, in the user's units,
    shape ``(n, d)``, if that is asked for.
    """

    def __init__(self, x: Tensor, across: np.ndarray | None):
        n = len(x)
        self.x, self.across = x, across
        self.living = torch.arange(n)
        self.parent = torch.full((n,), -1)
        self.log_m = torch.zeros(n, dtype=torch.float64)

    def divide(self, log_growth: Tensor, generator: torch.Generator) -> None:
        """Let the living cells divide and die, ``log_growth`` being G of each, float64."""
        counts = offspring(log_growth, generator)
        mothers = self.living.repeat_interleave((counts - 1).clamp(min=0))
        born = torch.arange(len(mothers)) + len(self.parent)
        self.living = torch.cat([self.living[counts > 0], born])
        self.parent = torch.cat([self.parent, mothers])
        self.x = torch.cat([self.x, self.x[mothers.to(self.x.device)]])
        if self.across is not None:
            self.across = np.concatenate([self.across, self.across[mothers.numpy()]])

    def mass(self, branching: bool) -> np.ndarray:
        """Of each column, shape ``(n,)``."""
        if not branching:
            return self.log_m.exp().numpy()
        mass = np.zeros(len(self.parent))
        mass[self.living.numpy()] = 1
        return mass


@torch.no_grad()
def follow(
    model: Model,
    x: np.ndarray,
    times: Sequence[float] | np.ndarray,
    *,
    noise: float,
    branching: bool,
    step: float,
    seed: int,
) -> Paths:
    """Follow cells at ``x``, shape ``(n, d)``, each of mass 1, from ``times[0]`` through the others, increasing.

    ``noise`` is the standard deviation of the Brownian motion per axis of ``x`` and per square root of unit time, in
    the units of ``x``; ``step`` the longest step in unitless time, in which a mean interval is 1. Across the axes
    trained on, where there are others, nothing but the noise moves a cell.
    """
    scaling, networks = model.scaling, model.networks
    device = next(networks.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    start = torch.as_tensor(scaling.to_unitless(x), dtype=torch.float32, device=device)
    axes = scaling.axes
    across = None if axes is None or not noise else np.zeros(x.shape, np.float32)
    cells = _Population(start, across)
    kept = [(cells.x, across, cells.mass(branching))]
    for k, (before, after) in enumerate(zip(times[:-1], times[1:], strict=True), start=1):
        fastest = scaling.time_unit_at(np.linspace(before, after, CLOCK_READINGS)).min()
        n_steps = max(1, math.ceil((after - before) / fastest / step - ROUNDING))
        grid = scaling.to_unitless_time(np.linspace(before, after, n_steps + 1)).tolist()
        common = networks.common_growth(grid).diff()
        spread = noise * math.sqrt((after - before) / n_steps) / scaling.length
        for t, t_next, growth in zip(grid[:-1], grid[1:], common.tolist(), strict=True):
            here = cells.x[cells.living.to(device)]
            there, log_growth = _heun(networks, t, t_next - t, here, spread, generator)
            cells.x = cells.x.index_copy(0, cells.living.to(device), there)
            if cells.across is not None and axes is not None:
                cells.across = _diffused(cells.across, cells.living.numpy(), spread * scaling.length, axes, generator)
            log_growth = log_growth.cpu().double() + growth
            if branching:
                cells.divide(log_growth, generator)
                n = len(cells.parent)
                check_size(n, len(times), x.shape[1], f"By time {times[k]:g} {n:,} cells have lived")
            else:
                cells.log_m += log_growth
        kept.append((cells.x, cells.across, cells.mass(branching)))
    return _joined(kept, cells.parent.numpy(), x, start.cpu(), scaling.displacement)


def _heun(
    networks: Networks, t: float, h: float, x: Tensor, spread: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Positions, shape ``(n, d)``, and growth in log mass without the common rate, ``(n,)``, after a step ``h``.

    ``spread``: standard deviation of its noise.
    """
    shift: Tensor | float = 0.0
    if spread:
        shift = spread * torch.randn(x.shape, generator=generator).to(x.device)
    v0, g0 = _field(networks, t, x)
    v1, g1 = _field(networks, t + h, x + h * v0 + shift)
    return x + h / 2 * (v0 + v1) + shift, h / 2 * (g0 + g1)


def _diffused(
    across: np.ndarray, living: np.ndarray, spread: float, axes: np.ndarray, generator: torch.Generator
) -> np.ndarray:
    """``across`` after a step of noise of standard deviation ``spread``, less what lies along ``axes``."""
    across = across.copy()
    for first in range(0, len(living), BLOCK_CELLS):
        rows = living[first : first + BLOCK_CELLS]
        step = torch.randn(len(rows), across.shape[1], generator=generator).numpy()
        across[rows] += spread * (step - (step @ axes.T) @ axes)
    return across


def _field(networks: Networks, t: float, x: Tensor) -> tuple[Tensor, Tensor]:
    v, g = zip(*(networks.individual(t, part) for part in x.split(BLOCK_CELLS)), strict=True)
    return torch.cat(v), torch.cat(g)


def offspring(log_growth: Tensor, generator: torch.Generator) -> Tensor:
    """Cells that each becomes, 0 where it dies; of mean ``exp(log_growth)``, float64, shape ``(n,)``."""
    u = 1 - torch.rand(len(log_growth), dtype=torch.float64, generator=generator)  # above 0, at most 1
    lives = u <= log_growth.exp()  # all with growth do
    more = u.log() / torch.log1p(-torch.exp(-log_growth.clamp(min=0)))  # none without
    return (lives * (1 + more.floor())).long()


def check_size(n: int, n_times: int, d: int, what: str) -> None:
    """Refuse more positions than `MOST_NUMBERS`; ``what`` says of the ``n`` cells how they come about."""
    if n * n_times * d > MOST_NUMBERS:
        msg = (
            f"{what}: their positions in {d} dimensions at {n_times} times take more than "
            f"{MOST_NUMBERS * 4 / 2**30:g} GB. Start from fewer cells (n_cells), or keep fewer times (times)."
        )
        raise ValueError(msg)


def _joined(kept, parent: np.ndarray, x: np.ndarray, start: Tensor, displacement) -> Paths:
    """Paths from what was kept at each time of the columns there were."""
    founder = _forebears(parent, len(x))
    single = x.astype(np.float32)
    positions = np.empty((len(kept), len(parent), x.shape[1]), dtype=np.float32)
    mass = np.zeros(positions.shape[:2], dtype=np.float32)
    for k, (at, beside, weight) in enumerate(kept):
        n = len(at)
        here = displacement((at.cpu() - start[founder[:n]]).numpy())
        here += single[founder[:n]]
        if beside is not None:
            here += beside
        positions[k] = here[_forebears(parent, n)]
        mass[k, :n] = weight
    return Paths(positions, mass, parent, founder)


def _forebears(parent: np.ndarray, n: int) -> np.ndarray:
    """For each column the one among the first ``n`` that it is or descends from, shape ``(n_columns,)``."""
    found = np.arange(len(parent))
    while (late := found >= n).any():
        found[late] = parent[found[late]]
    return found
