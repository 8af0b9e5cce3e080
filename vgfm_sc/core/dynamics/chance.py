"""Follow cells that take random steps, divide and die.

With noise, dx = (v + noise^2/2 s) dt + noise dB, where s is the score, the gradient of the log density. Noise spreads a
population and the score gathers it, so it stays as it is without noise (:cite:p:`Song21`, section 4.3). Backward in
time v changes its sign and s does not. Over a step h, with a standard normal number z for each axis and
b = h v + |h| noise^2/2 s, a cell at x goes to

    x + 1/2 (b(t, x) + b(t + h, x')) + noise sqrt(|h|) z,    x' = x + b(t, x) + noise sqrt(|h|) z,

the stochastic Heun method, whose means err by order h^2 where noise is the same everywhere (:cite:p:`Kloeden92`, 15.1).
Its log mass grows by G = h/2 (g(t, x) + g(t + h, x')). Steps are short enough for the steepest score among the cells.

With branching, mass is a number of cells. A cell divides at the rate max(g, 0) and dies at the rate max(-g, 0): of all
birth-death processes that grow at the rate g on average, the one with the fewest events. A step with G > 0 leaves k
cells with probability exp(-G) (1 - exp(-G))^(k - 1), one with G < 0 leaves the cell alive with probability exp(G)
(:cite:p:`Kendall48`). Both have the mean exp(G), so the expected number of cells is the deterministic mass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.dynamics.scaling import Scaling

MOST_NUMBERS = 2**29
"""Coordinates of all paths at all times kept: 2 GB in single precision, twice that while they are put together."""

STABLE = 0.2
"""Longest step as a share of the time in which score and noise settle: variance then errs by a hundredth at most."""

MOST_STEPS = 20_000
"""Steps of a whole run: more take minutes and say that noise is too large."""

STRETCH = 0.1
"""Unitless time after which the steepness of the score is measured again: it changes along an interval."""

PROBED, PROBES, PROBE = 200, 4, 1e-2
"""Cells at which the steepness of the score is measured, steps of the power method at each, and their length."""

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

    ``x``: unitless, along the axes trained on.
    """

    def __init__(self, x: Tensor):
        n = len(x)
        self.x = x
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
    twins: np.ndarray | None = None,
) -> Paths:
    """Follow cells at ``x``, shape ``(n, d)``, each of mass 1, from ``times[0]`` through the others.

    ``times`` increase, or decrease where there is no branching. ``noise`` is the standard deviation of the Brownian
    motion per axis of ``x`` and per square root of unit time, in the units of ``x``; ``step`` the longest step in
    unitless time, in which a mean interval is 1. Noise moves cells along the axes trained on: only there is the score
    known.

    With ``twins``, and without branching, the second half of ``x`` are the cells of the first half at other places:
    both take the same random numbers. The array, orthonormal directions along the axes trained on, shape
    ``(q, n_axes)``, names those along which the second half is held; ``q`` may be 0.
    """
    scaling, networks = model.scaling, model.networks
    device = next(networks.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    start = torch.as_tensor(scaling.to_unitless(x), dtype=torch.float32, device=device)
    held = None if twins is None else torch.as_tensor(twins, dtype=torch.float32, device=device)
    cells = _Population(start)
    kept, taken = [(cells.x, cells.mass(branching))], 0
    for k, (before, after) in enumerate(zip(times[:-1], times[1:], strict=True), start=1):
        n_stretches = math.ceil(_ticks(scaling, before, after) / max(STRETCH, step) - ROUNDING) if noise else 1
        for first, last in pairwise(np.linspace(before, after, max(1, n_stretches) + 1)):
            n_steps = max(1, math.ceil(_ticks(scaling, first, last) / step - ROUNDING))
            if noise:
                here = cells.x[cells.living.to(device)]
                ends = scaling.to_unitless_time(np.array([first, last])).tolist()
                steep = max(steepness(networks, t, here, generator) for t in ends)
                settles = abs(last - first) * (noise / scaling.length) ** 2 / 2 * steep  # so many times
                n_steps = max(n_steps, math.ceil(settles / STABLE))
                taken += n_steps
                _check_steps(noise, taken, abs(times[-1] - times[0]) / abs(last - times[0]))
            grid = scaling.to_unitless_time(np.linspace(first, last, n_steps + 1)).tolist()
            common = networks.common_growth(grid).diff()
            spread = noise * math.sqrt(abs(last - first) / n_steps) / scaling.length
            for t, t_next, growth in zip(grid[:-1], grid[1:], common.tolist(), strict=True):
                here = cells.x[cells.living.to(device)]
                there, log_growth = _heun(networks, t, t_next - t, here, spread, generator, held)
                cells.x = cells.x.index_copy(0, cells.living.to(device), there)
                log_growth = log_growth.cpu().double() + growth
                if branching:
                    cells.divide(log_growth, generator)
                    n = len(cells.parent)
                    check_size(n, len(times), x.shape[1], f"By time {times[k]:g} {n:,} cells have lived")
                else:
                    cells.log_m += log_growth
        kept.append((cells.x, cells.mass(branching)))
    return _joined(kept, cells.parent.numpy(), x, start.cpu(), scaling.displacement)


def _ticks(scaling: Scaling, before: float, after: float) -> float:
    """Unitless time that passes at most, were it as fast throughout as at its fastest."""
    return abs(after - before) / scaling.time_unit_at(np.linspace(before, after, CLOCK_READINGS)).min()


def _heun(
    networks: Networks,
    t: float,
    h: float,
    x: Tensor,
    spread: float,
    generator: torch.Generator,
    twins: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Positions, shape ``(n, d)``, and growth in log mass without the common rate, ``(n,)``, after a step ``h``.

    ``spread``: standard deviation of its noise. With noise cells stay in the box of the data: where there
    are none the networks answer anything. ``twins``: as `follow` has them.
    """
    shift: Tensor | float = 0.0
    if spread:
        alike = 1 if twins is None else 2
        drawn = torch.randn((len(x) // alike, x.shape[1]), generator=generator)
        shift = spread * drawn.repeat(alike, 1).to(x.device)
    b0, g0 = _change(networks, t, h, x, spread)
    b1, g1 = _change(networks, t + h, h, _kept(x, x + b0 + shift, twins), spread)
    there = x + (b0 + b1) / 2 + shift
    if spread:
        there = there.clamp(networks.low, networks.high)
    there = _kept(x, there, twins)
    return there, h / 2 * (g0 + g1)


def _kept(x: Tensor, there: Tensor, twins: Tensor | None) -> Tensor:
    """``there``, but what the second half of the cells had at ``x`` along ``twins`` it has still."""
    if twins is None:
        return there
    half = len(x) // 2
    back = (x[half:] - there[half:]) @ twins.T @ twins
    return torch.cat([there[:half], there[half:] + back])


def _change(networks: Networks, t: float, h: float, x: Tensor, spread: float) -> tuple[Tensor, Tensor]:
    """Expected change of position over ``h`` at the pace of ``t``, and the growth rate."""
    moved, rates = [], []
    for part in x.split(BLOCK_CELLS):
        v, g = networks.individual(t, part)
        moved.append(h * v + spread**2 / 2 * networks.score(t, part) if spread else h * v)
        rates.append(g)
    return torch.cat(moved), torch.cat(rates)


def steepness(networks: Networks, t: float, x: Tensor, generator: torch.Generator) -> float:
    """Largest change of the score per unit of distance at cells ``x``, by the power method at some of them."""
    x = x[torch.randperm(len(x), generator=generator)[:PROBED].to(x.device)]
    direction, size = torch.randn(x.shape, generator=generator).to(x), x.new_zeros(len(x))
    for _ in range(PROBES):
        apart = PROBE * direction / direction.norm(dim=1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        direction = networks.score(t, x + apart) - networks.score(t, x - apart)
        size = direction.norm(dim=1) / (2 * PROBE)
    return float(size.max()) if len(x) else 0.0


def _check_steps(noise: float, taken: int, share: float) -> None:
    """Refuse noise that needs more than `MOST_STEPS`; ``share``: of the time passed in that of the run, inverse."""
    needed = taken * share
    if needed > MOST_STEPS:
        will_do = noise * math.sqrt(MOST_STEPS / needed)
        msg = (
            f"noise={noise:g} needs {needed:,.0f} steps, more than {MOST_STEPS:,}: in fewer, cells would leave the "
            f"data. noise={0.9 * will_do:.2g} will do."
        )
        raise ValueError(msg)


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
    for k, (at, weight) in enumerate(kept):
        n = len(at)
        here = displacement((at.cpu() - start[founder[:n]]).numpy())
        here += single[founder[:n]]
        positions[k] = here[_forebears(parent, n)]
        mass[k, :n] = weight
    return Paths(positions, mass, parent, founder)


def _forebears(parent: np.ndarray, n: int) -> np.ndarray:
    """For each column the one among the first ``n`` that it is or descends from, shape ``(n_columns,)``."""
    found = np.arange(len(parent))
    while (late := found >= n).any():
        found[late] = parent[found[late]]
    return found
