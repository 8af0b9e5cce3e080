"""The optimiser of both stages: Adam with a warm-up and a cosine decay."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.99)
"""A shorter memory of squared gradients than Adam's usual .999: stages have some thousand steps, not millions."""

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises, before its cosine decay to 0."""


class Optimiser:
    """`torch.optim.Adam`, fused where the device can, with a learning rate that ends at 0 after ``n_steps``."""

    def __init__(self, networks: nn.Module, lr: float, n_steps: int):
        parameters = list(networks.parameters())
        fused = parameters[0].device.type in ("cpu", "cuda")
        self.adam = torch.optim.Adam(parameters, lr=lr, betas=BETAS, fused=fused)
        self.lr, self.n_steps, self.step_count = lr, n_steps, 0

    def step(self) -> None:
        """One step along the gradients, which are then cleared."""
        self.adam.param_groups[0]["lr"] = self.lr * schedule(self.step_count / self.n_steps)
        self.step_count += 1
        self.adam.step()
        self.adam.zero_grad()


def schedule(progress: float) -> float:
    """Learning rate at ``progress`` in [0, 1], as a share of its highest."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def move_towards(average: nn.Module, networks: nn.Module, share: float) -> None:
    """Move the weights of ``average`` by ``share`` of the way to those of ``networks``."""
    kept: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(networks.parameters())
    torch._foreach_lerp_(kept, new, share)
