"""The velocity and growth networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Networks(nn.Module):
    """Velocity and growth as functions of time and position, both unitless; smooth, so that the flow is too.

    Called as ``networks(t, x)`` with ``t`` a number or a tensor of shape ``(n,)`` and ``x`` of shape ``(n, d)``;
    answers the velocity, shape ``(n, d)``, and the growth rate d log m / dt, shape ``(n,)``.
    """

    def __init__(self, n_dims: int, width: int, depth: int):
        super().__init__()
        self.velocity = perceptron(n_dims + 1, n_dims, width, depth)
        self.growth = perceptron(n_dims + 1, 1, width, depth)

    def forward(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity and growth at ``(t, x)``."""
        time = t[:, None] if isinstance(t, Tensor) else x.new_full((len(x), 1), t)
        state = torch.cat([x, time], dim=1)
        return self.velocity(state), self.growth(state)[:, 0]


def perceptron(n_in: int, n_out: int, width: int, depth: int) -> nn.Sequential:
    """``depth`` hidden layers of ``width`` units."""
    layers: list[nn.Module] = [nn.Linear(n_in, width), nn.SiLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, n_out))


def seeded(n_dims: int, width: int, depth: int, seed: int) -> Networks:
    """Networks initialised from ``seed``; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks(n_dims, width, depth)
