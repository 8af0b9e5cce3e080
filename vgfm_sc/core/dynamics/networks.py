"""The networks: velocity, growth, and log density whose gradient is the score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vgfm_sc.core.dynamics.density import LogDensity
from vgfm_sc.core.dynamics.perceptron import initialise, perceptron

MARGIN = 0.1
"""Of the box beyond the data, as a share of their range: no cell that moves among them meets the edge, where the field
has a kink that integrators stumble over."""


class Networks(nn.Module):
    """Velocity and growth as functions of time and position, both unitless; smooth, so that the flow is too.

    Called as ``networks(t, x)`` with ``t`` a number or a tensor of shape ``(n,)`` and ``x`` of shape ``(n, d)``;
    answers the velocity, shape ``(n, d)``, and the growth rate d log m / dt, shape ``(n,)``. Growth is one number
    where velocity is many, and smoother: its network is half as wide and a layer less deep. To it comes a rate that
    depends on time alone, ``rates`` at ``n_nodes`` ``times``, linear in between: 0 until `balance` sets it. A time that
    stands there twice has a rate before and one after it, and their mean itself. With ``with_score`` there is a network
    of the log density too, as large as that of growth. Weights are drawn from ``generator``; without one they are
    whatever memory holds, to be loaded.

    Outside the box from ``low`` to ``high``, shape ``(d,)``, the answer is that of the nearest point of the box: where
    there are no data networks answer anything, and a cell that strays must not be carried off.
    """

    low: Tensor
    high: Tensor
    times: Tensor
    rates: Tensor

    def __init__(
        self,
        n_dims: int,
        width: int,
        depth: int,
        n_nodes: int,
        generator: torch.Generator | None = None,
        *,
        with_score: bool = False,
    ):
        super().__init__()
        half, less = max(1, width // 2), max(1, depth - 1)
        self.velocity = perceptron(n_dims + 1, n_dims, width, depth)
        self.growth = perceptron(n_dims + 1, 1, half, less)
        self.density = LogDensity(n_dims, half, less) if with_score else None
        if generator is not None:
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    initialise(layer, generator)
        self.register_buffer("low", torch.full((n_dims,), -torch.inf))
        self.register_buffer("high", torch.full((n_dims,), torch.inf))
        self.register_buffer("times", torch.arange(n_nodes, dtype=torch.float32))
        self.register_buffer("rates", torch.zeros(n_nodes))

    def forward(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity and growth at ``(t, x)``."""
        v, g = self.individual(t, x)
        return v, g + self._common_rate(t if isinstance(t, Tensor) else x.new_full((1,), t))

    def individual(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same without the common rate: what is trained, and smooth in time."""
        state = torch.cat([x.clamp(self.low, self.high), _column(t, x)], dim=1)
        return self.velocity(state), self.growth(state)[:, 0]

    def score(self, t: float | Tensor, x: Tensor) -> Tensor:
        """Gradient of the log density at ``(t, x)``, shape ``(n, d)``; only with a network of it."""
        assert self.density is not None
        return self.density.score(_column(t, x), x.clamp(self.low, self.high))

    def log_density(self, t: float | Tensor, x: Tensor) -> Tensor:
        """Log density at ``(t, x)`` up to a constant at each time, shape ``(n,)``; only with a network of it."""
        assert self.density is not None
        return self.density(_column(t, x), x.clamp(self.low, self.high))

    def common_growth(self, times: Sequence[float]) -> Tensor:
        """Integral of the common rate from ``times[0]`` to each of ``times``, float64."""
        nodes = self.times.cpu().double()
        ends = torch.as_tensor(times, dtype=torch.float64)
        grid = torch.cat([nodes, ends]).unique()
        middle = self._common_rate(((grid[:-1] + grid[1:]) / 2).to(self.times)).cpu().double()
        passed = torch.cat([grid.new_zeros(1), (grid.diff() * middle).cumsum(0)])
        at = passed[torch.searchsorted(grid, ends)]
        return at - at[0]

    def keep_to(self, x: Tensor) -> None:
        """Set the box around cells ``x``, shape ``(n, d)``."""
        low, high = x.aminmax(dim=0)
        self.low.copy_(low - MARGIN * (high - low))
        self.high.copy_(high + MARGIN * (high - low))

    def _common_rate(self, t: Tensor) -> Tensor:
        sides = []
        for right in (False, True):
            after = torch.searchsorted(self.times, t, right=right).clamp(1, len(self.times) - 1)
            start, stop = self.times[after - 1], self.times[after]
            share = ((t - start) / (stop - start)).clamp(0, 1)
            sides.append(torch.lerp(self.rates[after - 1], self.rates[after], share))
        return (sides[0] + sides[1]) / 2


def _column(t: float | Tensor, x: Tensor) -> Tensor:
    """Time as a column beside ``x``."""
    return t[:, None] if isinstance(t, Tensor) else x.new_full((len(x), 1), t)
