"""The velocity and growth networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

MARGIN = 0.1
"""Of the box beyond the data, as a share of their range: no cell that moves among them meets the edge, where the field
has a kink that integrators stumble over."""


class Networks(nn.Module):
    """Velocity and growth as functions of time and position, both unitless; smooth, so that the flow is too.

    Called as ``networks(t, x)`` with ``t`` a number or a tensor of shape ``(n,)`` and ``x`` of shape ``(n, d)``;
    answers the velocity, shape ``(n, d)``, and the growth rate d log m / dt, shape ``(n,)``. Growth is one number
    where velocity is many, and smoother: its network is half as wide and a layer less deep. To it comes a rate that
    depends on time alone, ``rates`` at ``times``, linear in between: 0 until `balance` sets it. Weights are drawn from
    ``generator``; without one they are whatever memory holds, to be loaded.

    Outside the box from ``low`` to ``high``, shape ``(d,)``, the answer is that of the nearest point of the box: where
    there are no data networks answer anything, and a cell that strays must not be carried off.
    """

    low: Tensor
    high: Tensor
    times: Tensor
    rates: Tensor

    def __init__(self, n_dims: int, width: int, depth: int, n_times: int, generator: torch.Generator | None = None):
        super().__init__()
        self.velocity = perceptron(n_dims + 1, n_dims, width, depth)
        self.growth = perceptron(n_dims + 1, 1, max(1, width // 2), max(1, depth - 1))
        if generator is not None:
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    initialise(layer, generator)
        self.register_buffer("low", torch.full((n_dims,), -torch.inf))
        self.register_buffer("high", torch.full((n_dims,), torch.inf))
        self.register_buffer("times", torch.arange(n_times, dtype=torch.float32))
        self.register_buffer("rates", torch.zeros(n_times))

    def forward(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity and growth at ``(t, x)``."""
        v, g = self.individual(t, x)
        return v, g + self._common_rate(t if isinstance(t, Tensor) else x.new_full((1,), t))

    def individual(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same without the common rate: what is trained, and smooth in time."""
        time = t[:, None] if isinstance(t, Tensor) else x.new_full((len(x), 1), t)
        state = torch.cat([x.clamp(self.low, self.high), time], dim=1)
        return self.velocity(state), self.growth(state)[:, 0]

    def common_growth(self, times: Sequence[float]) -> Tensor:
        """Integral of the common rate from ``times[0]`` to each of ``times``, float64."""
        nodes = self.times.cpu().double()
        ends = torch.as_tensor(times, dtype=torch.float64)
        grid = torch.cat([nodes, ends]).unique()
        before, after = (self._common_rate(t.to(self.times)).cpu().double() for t in (grid[:-1], grid[1:]))
        passed = torch.cat([grid.new_zeros(1), (grid.diff() * (before + after) / 2).cumsum(0)])
        at = passed[torch.searchsorted(grid, ends)]
        return at - at[0]

    def keep_to(self, x: Tensor) -> None:
        """Set the box around cells ``x``, shape ``(n, d)``."""
        low, high = x.aminmax(dim=0)
        self.low.copy_(low - MARGIN * (high - low))
        self.high.copy_(high + MARGIN * (high - low))

    def _common_rate(self, t: Tensor) -> Tensor:
        after = torch.searchsorted(self.times, t).clamp(1, len(self.times) - 1)
        start, stop = self.times[after - 1], self.times[after]
        share = ((t - start) / (stop - start)).clamp(0, 1)
        return torch.lerp(self.rates[after - 1], self.rates[after], share)


def perceptron(n_in: int, n_out: int, width: int, depth: int) -> nn.Sequential:
    """``depth`` hidden layers of ``width`` units, weights not set."""
    layers: list[nn.Module] = [_layer(n_in, width), nn.SiLU()]
    for _ in range(depth - 1):
        layers += [_layer(width, width), nn.SiLU()]
    return nn.Sequential(*layers, _layer(width, n_out))


def _layer(n_in: int, n_out: int) -> nn.Linear:
    return cast(nn.Linear, nn.utils.skip_init(nn.Linear, n_in, n_out))


@torch.no_grad()
def initialise(layer: nn.Linear, generator: torch.Generator) -> None:
    """As `torch.nn.Linear` initialises itself, from ``generator`` in place of torch's global one."""
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
