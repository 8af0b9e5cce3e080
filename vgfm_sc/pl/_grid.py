"""Velocities and heights on a regular grid over the cells, for arrows, stream lines and contours."""

from __future__ import annotations

import numpy as np

FEWEST, MOST = 14, 30
"""Nodes along an axis; more with more cells."""

NEEDED = 1.5
"""Weight of the cells around a node, 1 for a cell at the node, below which nothing is drawn: an arrow of a lone
stray cell says nothing."""

ARROW = 2.0
"""Length, in steps of the grid, that fast arrows may have."""


class Grid:
    """Nodes over the cells at ``x``, shape ``(n, 2)``; more of them with a higher ``density``."""

    def __init__(self, x: np.ndarray, density: float):
        n = round(density * np.clip(len(x) ** 0.5, FEWEST, MOST))
        low, high = x.min(axis=0), x.max(axis=0)
        self.shape = (max(2, n), max(2, n))
        high = np.where(high > low, high, low + 1.0)
        self.axes = [np.linspace(low[k], high[k], self.shape[k]) for k in (0, 1)]
        self.step = (high - low) / (np.asarray(self.shape) - 1)
        self.low = low
        self.node = np.rint((x - low) / self.step).astype(int)

    def field(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of ``v``, shape ``(n, k)``, around each node, shape ``(*shape, k)``, and where there are cells enough.

        Weights fall as a Gaussian of one step.
        """
        flat = np.ravel_multi_index(tuple(self.node.T), self.shape)
        n = self.shape[0] * self.shape[1]
        sums = np.stack([np.bincount(flat, w, n).reshape(self.shape) for w in (np.ones(len(v)), *v.T)])
        near = [np.exp(-0.5 * np.subtract.outer(np.arange(k), np.arange(k)) ** 2) for k in self.shape]
        weight, *weighted = near[0] @ sums @ near[1].T
        return np.stack(weighted, axis=2) / np.maximum(weight, 1e-12)[..., None], weight >= NEEDED

    def mean(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nodes among the cells, shape ``(k, 2)``, and the mean velocity there."""
        u, covered = self.field(v)
        nodes = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=2)
        return nodes[covered], u[covered]

    def some(self, x: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each node the cell nearest to it, if any is: positions and velocities."""
        flat = np.ravel_multi_index(tuple(self.node.T), self.shape)
        off = ((x - self.low) / self.step - self.node) ** 2
        order = np.lexsort((off.sum(axis=1), flat))
        first = order[np.unique(flat[order], return_index=True)[1]]
        return x[first], v[first]
