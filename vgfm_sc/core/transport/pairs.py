"""The costs between two clouds of points, by blocks of rows; only the pairs that carry mass are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vgfm_sc.core.transport import clones as lineage
from vgfm_sc.core.transport.support import NOTHING, AllPairs, Support, damped, exp_, log_sum

OUTLYING = 4.0
"""Squared distance from the centre, in medians, from which a cell is an outlier: of a normal distribution none in ten
dimensions, a hundredth in three."""

FAR = 0.3
"""Most of a subsample that are outliers. Nothing near them tells their potentials, so that they are not drawn at
random."""

NEAR_RIGHT = 1e-4
"""Radians short of a right angle from which pairs are out of reach: costs, and so potentials, stay finite."""


class Pairs:
    """Squared distances from ``x``, shape ``(n, d)``, to ``y``, ``(m, d)``, with masses ``a`` and ``b``.

    ``block`` is the number of pairs held at once. Tensors are float64, but for ``clones``: the clones of both sides,
    shapes ``(n,)`` and ``(m,)``, -1 where there is none, which change what pairs cost (see `clones`). ``price`` turns
    squared distances into costs, in place; without it they are the costs.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        a: Tensor,
        b: Tensor,
        block: int,
        clones: tuple[Tensor, Tensor] | None = None,
        price: Callable[[Tensor], Tensor] | None = None,
    ):
        self.centre = (x.mean(0) + y.mean(0)) / 2  # |x|^2 + |y|^2 - 2 x.y loses least near the origin
        self.x, self.y, self.a, self.b, self.block = x - self.centre, y - self.centre, a, b, block
        self.shape, self.clones, self.price = (len(x), len(y)), clones, price
        self._y2 = self.y.square().sum(1)

    def mean_cost(self) -> float:
        """Mean of the squared distances over all pairs."""
        return float(self.x.square().sum(1).mean() + self._y2.mean() - 2 * self.x.mean(0) @ self.y.mean(0))

    def subsample(self, n: int, generator: torch.Generator) -> Pairs:
        """At most ``n`` points a side around a ``centre`` of their own, with the same totals.

        Outliers as they are, others at random with their masses raised. Without clones: few of them would have cells
        on both sides.
        """

        def some(points: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
            if len(points) <= n:
                return points, mass
            squared = points.square().sum(1)
            n_far = min(int(FAR * n), int((squared > OUTLYING * squared.median()).sum()))
            far, near = squared.argsort(descending=True, stable=True).tensor_split([n_far])
            drawn = near[torch.randperm(len(near), generator=generator)[: n - len(far)].to(points.device)]
            raised = mass[drawn] * (mass[near].sum() / mass[drawn].sum())
            return points[torch.cat([far, drawn])], torch.cat([mass[far], raised])

        (x, a), (y, b) = some(self.x, self.a), some(self.y, self.b)
        return Pairs(x, y, a, b, self.block, price=self.price)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        step = max(1, self.block // self.shape[1])
        for start in range(0, self.shape[0], step):
            rows = slice(start, start + step)
            x = self.x[rows]
            cost = torch.addmm(self._y2, x, self.y.T, alpha=-2).add_(x.square().sum(1)[:, None]).clamp_(min=0)
            if self.price is not None:
                cost = self.price(cost)
            if self.clones is not None:
                cost.add_(lineage.costs(self.clones[0][rows], self.clones[1], cost.dtype))
            yield rows, cost

    def source_potential(self, g: Tensor, eps: float, rho: float) -> Tensor:
        """The f that is optimal for ``g``, shape ``(n,)``."""
        shift = g / eps + self.b.log()
        return torch.cat([log_sum(cost.div_(-eps).add_(shift), 1) for _, cost in self._blocks()]) * -damped(eps, rho)

    def target_potential(self, f: Tensor, eps: float, target_rho: float = math.inf) -> Tensor:
        """The g that is optimal for ``f``, shape ``(m,)``: by default the one that makes the column marginal exact."""
        shift = f / eps + self.a.log()
        top = torch.full_like(self.b, -torch.inf)
        total = torch.zeros_like(self.b)
        for rows, cost in self._blocks():
            z = cost.div_(-eps).add_(shift[rows, None])
            higher = torch.maximum(top, z.amax(0))
            total = total * torch.exp(top - higher) + exp_(z.sub_(higher)).sum(0)
            top = higher
        return -damped(eps, target_rho) * (top + total.log())

    def whole(self) -> AllPairs:
        """All costs at once."""
        return AllPairs(torch.cat([cost for _, cost in self._blocks()]))

    def nearest(self) -> tuple[Tensor, Tensor]:
        """The least cost of each source, shape ``(n,)``, and of each target, ``(m,)``."""
        of_source, of_target = [], torch.full_like(self.b, torch.inf)
        for _, cost in self._blocks():
            of_source.append(cost.amin(1))
            of_target = torch.minimum(of_target, cost.amin(0))
        return torch.cat(of_source), of_target

    def entries(
        self, f: Tensor, g: Tensor, eps: float, share: float, column: Tensor | None = None
    ) -> tuple[Support, Tensor, Tensor]:
        """Pairs with more than ``share`` of the mass of their row or column, their mass, and row sums over all.

        Column sums over all are added to ``column``.
        """
        source, target = f / eps + self.a.log(), g / eps + self.b.log()
        counts, columns, masses, costs, sums = [], [], [], [], []
        for rows, cost in self._blocks():
            p = exp_(cost.div_(-eps).add_(target).add_(source[rows, None]))
            p = torch.threshold_(p, NOTHING, 0.0)
            row = p.sum(1)
            if column is not None:
                column.add_(p.sum(0))
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


def fisher_rao(squared: Tensor, delta: float, beyond: float) -> Tensor:
    """The cost ``-8 delta^2 log cos(D / (2 delta))`` of pairs at squared distances D^2, which are overwritten.

    It tends to D^2 for a large ``delta``. Pairs at pi ``delta`` and farther cost ``beyond`` more than any nearer one.
    """
    angle = squared.sqrt_().div_(2 * delta)
    far = angle >= math.pi / 2 - NEAR_RIGHT
    cost = angle.clamp_(max=math.pi / 2 - NEAR_RIGHT).sin_().square_().neg_().log1p_().mul_(-4 * delta**2)
    return cost.add_(far, alpha=beyond)
