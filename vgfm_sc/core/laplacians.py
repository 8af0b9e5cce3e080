"""Linear systems of the Laplacian of a plan: conjugate gradients, helped by a factorised part of the plan.

The Hessian of entropic transport is what elimination of the target potential leaves of the Laplacian of a graph: its
nodes are the cells, its edges the entries of the plan. Groups of cells that exchange little mass make it nearly
singular, and conjugate gradients scaled by the diagonal then take thousands of products. A plan with few entries is
nearly a forest, which is factorised without fill: the strongest entries and a spanning forest of them all stand for the
plan. A small plan with many entries is factorised whole, as a dense matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import block_array, csr_array, diags_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.sparse.linalg import splu
from torch import Tensor

EASY = 40
"""Iterations scaled by the diagonal before a factorisation is thought to be worth its price."""

FEW_ENTRIES = 4
"""Entries a cell up to which a plan is nearly a forest, and factorised without trying the diagonal first."""

MOST_DENSE = 2000
"""Cells of the smaller side up to which a plan of many entries is factorised dense: 32 MB, a second at most."""

BLOCK_ROWS = 1024
"""Rows of a plan that are dense at once."""

STRONG = 0.1
"""An entry is kept beside the forest when it holds more than this share of its row or of its column."""

EMPTY = 1e-12
"""Curvature of a cell without mass, as a share of the largest: nothing is to be divided by 0."""

PINNED = 1e-11
"""Share of its diagonal that is added to a factorised matrix: a common shift of potentials changes nothing, which
leaves it singular."""

Solve = Callable[[Tensor], Tensor]


class System(NamedTuple):
    """``z`` such that ``source z - P (P'z / target)`` is a right-hand side, with ``P = u K v``.

    ``plan`` and ``transpose``: the entries K, shape ``(n, m)``, and K', both dense or compressed by row, with the
    columns of each row in order. ``source`` and ``target``: shapes ``(n,)`` and ``(m,)``, at least the row and column
    sums of P.
    """

    plan: Tensor
    transpose: Tensor
    u: Tensor
    v: Tensor
    source: Tensor
    target: Tensor

    @property
    def sparse(self) -> bool:
        """Whether the plan is nearly a forest."""
        return self.plan.layout == torch.sparse_csr and len(self.plan.values()) <= FEW_ENTRIES * sum(self.plan.shape)

    @property
    def small(self) -> bool:
        """Whether it can be factorised dense."""
        return min(self.plan.shape) <= MOST_DENSE


class Systems:
    """Solves for the steps of an ascent, and remembers whether the diagonal was enough. ``solved``: systems so far."""

    def __init__(self) -> None:
        self.solved, self._hard = 0, False

    def solve(self, system: System, rhs: Tensor, rtol: float, most: int) -> tuple[Tensor, int]:
        """The solution, and the products with the plan it took, of at most ``most`` iterations."""
        plan, transpose, u, v, source, target = system
        source, target = (side.clamp(min=EMPTY * float(side.max())) for side in (source, target))
        system, weight = system._replace(source=source, target=target), v * v / target

        def image(z: Tensor) -> Tensor:
            return source * z - u * (plan @ (weight * (transpose @ (u * z))))

        self.solved += 1
        found, used = torch.zeros_like(rhs), 0
        if not (self._hard or system.sparse):
            found, used, done = _conjugate_gradient(image, rhs, found, lambda z: z / source, rtol, min(EASY, most))
            if done:
                return found, 2 * used
            self._hard = True
        nearly = _whole(system) if system.small and not system.sparse else _strongest(system)
        found, more, _ = _conjugate_gradient(image, rhs, found, nearly, rtol, most - used)
        return found, 2 * (used + more)


def _whole(system: System) -> Solve:
    """The inverse, by a Cholesky factorisation of what elimination of the larger side leaves."""
    plan, transpose, u, v, source, target = system
    by_source = len(source) <= len(target)
    gone_by_row, kept_factor, gone_factor, kept, gone = (
        (transpose, u, v, source, target) if by_source else (plan, v, u, target, source)
    )
    schur = kept.diag()
    for rows, entries in _blocks(gone_by_row):
        p = gone_factor[rows, None] * entries * kept_factor
        schur.addmm_(p.T, p / gone[rows, None], alpha=-1)
    scale = (schur.diagonal() + PINNED * kept).rsqrt()
    schur.mul_(scale[:, None]).mul_(scale).diagonal().add_(PINNED)
    factor, failed = torch.linalg.cholesky_ex(schur)
    if failed:  # rounding has the better of what couples the cells
        return lambda z: z / source

    def inverse(z: Tensor) -> Tensor:
        return scale * torch.cholesky_solve((scale * z)[:, None], factor)[:, 0]

    if by_source:
        return inverse
    return lambda z: (z + u * (plan @ (v * inverse(v * (transpose @ (u * (z / source))))))) / source


def _blocks(matrix: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Some rows at a time, dense: the whole of two large snapshots is never held."""
    if matrix.layout == torch.strided:
        yield slice(0, len(matrix)), matrix
        return
    pointers, columns, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    for first in range(0, matrix.shape[0], BLOCK_ROWS):
        held = pointers[first : first + BLOCK_ROWS + 1]
        rows = torch.arange(len(held) - 1, device=held.device).repeat_interleave(held.diff())
        entries = slice(int(held[0]), int(held[-1]))
        dense = values.new_zeros(len(held) - 1, matrix.shape[1])
        dense[rows, columns[entries]] = values[entries]
        yield slice(first, first + len(held) - 1), dense


def _strongest(system: System) -> Solve:
    """The inverse for a part of the plan: its strongest entries, and a spanning forest of the strongest there are."""
    n, m = system.plan.shape
    rows, columns, values = _positive(system)
    row, column = (np.bincount(k, values, size) for k, size in ((rows, n), (columns, m)))
    # a cell's own curvature stays whole; what entries add to it stays where they are kept
    own = np.concatenate([system.source.cpu().numpy() - row, system.target.cpu().numpy() - column]).clip(min=0)
    kept = values > STRONG * np.minimum(row[rows], column[columns])
    kept[_forest(rows, columns, values, (n, m))] = True
    part = csr_array((values[kept], (rows[kept], columns[kept])), shape=(n, m))
    diagonal = own + np.concatenate([part.sum(axis=1), part.sum(axis=0)]) + PINNED * np.concatenate([row, column])
    diagonal = diagonal.clip(min=EMPTY * diagonal.max())
    whole = diags_array(diagonal) - block_array([[None, part], [part.T, None]])
    factor = splu(whole.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    padding = np.zeros(m)
    return lambda z: torch.as_tensor(factor.solve(np.concatenate([z.cpu().numpy(), padding]))[:n]).to(z)


def _positive(system: System) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of the plan where it has mass, on the processor."""
    plan = system.plan
    rows = np.repeat(np.arange(plan.shape[0]), np.diff(plan.crow_indices().cpu().numpy()))
    columns = plan.col_indices().cpu().numpy()
    values = plan.values().cpu().numpy() * system.u.cpu().numpy()[rows] * system.v.cpu().numpy()[columns]
    held = values > 0
    narrow = np.int32  # all that scipy's graphs take, whatever its version
    return rows[held].astype(narrow), columns[held].astype(narrow), values[held]


def _forest(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which entries, sorted by row and column, join cells into a forest that spans all groups, and are the largest."""
    n, m = shape
    tree = minimum_spanning_tree(csr_array((-values, (rows, columns + n)), shape=(n + m, n + m))).tocoo()
    keys, its = (i.astype(np.int64) * m + j for i, j in ((rows, columns), (tree.row, tree.col - n)))
    return np.searchsorted(keys, its)


def _conjugate_gradient(
    image_of: Solve, rhs: Tensor, start: Tensor, nearly: Solve, rtol: float, most: int
) -> tuple[Tensor, int, bool]:
    """The solution from ``start``, the iterations it took, and whether it is as good as asked for.

    ``nearly`` applies a matrix close to the inverse; ``rtol`` is of the residual's norm in it.
    """
    solution, residual, used = start.clone(), rhs.clone(), 0
    scaled = nearly(residual)
    energy = float(residual @ scaled)
    stop = rtol**2 * energy
    if bool(start.any()):
        residual -= image_of(start)
        scaled = nearly(residual)
        energy, used = float(residual @ scaled), 1
    direction = scaled.clone()
    while used < most and energy > stop:
        used += 1
        image = image_of(direction)
        curvature = float(direction @ image)
        if not curvature > 0:  # the null direction of balanced transport, reached by rounding
            break
        length = energy / curvature
        solution += length * direction
        residual -= length * image
        scaled = nearly(residual)
        previous, energy = energy, float(residual @ scaled)
        direction = scaled + energy / previous * direction
    return solution, used, not energy > stop
