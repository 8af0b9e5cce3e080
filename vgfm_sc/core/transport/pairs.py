"""The costs between two clouds of points, by blocks of rows; only the pairs that carry mass are kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.transport import clones as lineage
from vgfm_sc.core.transport.support import Support


class Pairs:
    """Squared distances from ``x``, shape ``(n, d)``, to ``y``, ``(m, d)``, with masses ``a`` and ``b``.

    ``block`` is the number of pairs held at once. Tensors are float64, but for ``clones``: the clones of both sides,
    shapes ``(n,)`` and ``(m,)``, -1 where there is none, which change what pairs cost (see `clones`).
    """

    def __init__(
        self, x: Tensor, y: Tensor, a: Tensor, b: Tensor, block: int, clones: tuple[Tensor, Tensor] | None = None
    ):
        self.centre = (x.mean(0) + y.mean(0)) / 2  # |x|^2 + |y|^2 - 2 x.y loses least near the origin
        self.x, self.y, self.a, self.b, self.block = x - self.centre, y - self.centre, a, b, block
        self.shape, self.clones = (len(x), len(y)), clones
        self._y2 = self.y.square().sum(1)

    def mean_cost(self) -> float:
        """Mean over all pairs, clones aside."""
        return float(self.x.square().sum(1).mean() + self._y2.mean() - 2 * self.x.mean(0) @ self.y.mean(0))

    def subsample(self, n: int, generator: torch.Generator) -> Pairs:
        """At most ``n`` points a side around a ``centre`` of their own, the masses raised to the same totals.

        Without clones: few of them would have cells on both sides.
        """

        def some(points: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
            rows = torch.randperm(len(points), generator=generator)[:n].to(points.device)
            return points[rows], mass[rows] * (mass.sum() / mass[rows].sum())

        (x, a), (y, b) = some(self.x, self.a), some(self.y, self.b)
        return Pairs(x, y, a, b, self.block)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        step = max(1, self.block // self.shape[1])
        for start in range(0, self.shape[0], step):
            rows = slice(start, start + step)
            x = self.x[rows]
            cost = torch.addmm(self._y2, x, self.y.T, alpha=-2).add_(x.square().sum(1)[:, None]).clamp_(min=0)
            if self.clones is not None:
                cost.add_(lineage.costs(self.clones[0][rows], self.clones[1], cost.dtype))
            yield rows, cost

    def source_potential(self, g: Tensor, eps: float, rho: float) -> Tensor:
        """The f that is optimal for ``g``, shape ``(n,)``."""
        damp = 1.0 if np.isinf(rho) else rho / (rho + eps)
        shift = g / eps + self.b.log()
        return torch.cat([cost.div_(-eps).add_(shift).logsumexp(1) for _, cost in self._blocks()]) * (-damp * eps)

    def target_potential(self, f: Tensor, eps: float) -> Tensor:
        """The g that makes the column marginal exact for ``f``, shape ``(m,)``."""
        shift = f / eps + self.a.log()
        top = torch.full_like(self.b, -torch.inf)
        total = torch.zeros_like(self.b)
        for rows, cost in self._blocks():
            z = cost.div_(-eps).add_(shift[rows, None])
            higher = torch.maximum(top, z.amax(0))
            total = total * torch.exp(top - higher) + z.sub_(higher).exp_().sum(0)
            top = higher
        return -eps * (top + total.log())

    def entries(self, f: Tensor, g: Tensor, eps: float, share: float) -> tuple[Support, Tensor, Tensor]:
        """Pairs with more than ``share`` of the mass of their row or column, their mass, and row sums over all."""
        source, target = f / eps + self.a.log(), g / eps + self.b.log()
        counts, columns, masses, costs, sums = [], [], [], [], []
        for rows, cost in self._blocks():
            p = cost.div_(-eps).add_(target).add_(source[rows, None]).exp_()
            row = p.sum(1)
            kept = (p > share * row[:, None]).logical_or_(p > share * self.b)
            i, j = kept.nonzero(as_tuple=True)
            mass = p[i, j]
            counts.append(kept.sum(1))
            columns.append(j.int())
            masses.append(mass)
            costs.append(eps * (source[rows][i] + target[j] - mass.log()))
            sums.append(row)
        support = Support(torch.cat(counts), torch.cat(columns), torch.cat(costs), self.shape)
        return support, torch.cat(masses), torch.cat(sums)
