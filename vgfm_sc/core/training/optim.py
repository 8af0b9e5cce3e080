"""The optimiser of both stages: Adam with a warm-up and a cosine decay, and the average of the weights it goes through.

All weights are one vector, which the parameters are views of. A step is then a handful of operations, where one by one
they would be some hundred. `torch.optim` is left alone: its first step imports torch's compiler, a second and 100 MB.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)

BETAS = (0.9, 0.99)
"""A shorter memory of squared gradients than Adam's usual .999: stages have some thousand steps, not millions."""

LEAST_ROOT = 1e-8
"""Added to the root of the squared gradients, so that weights without a gradient stay."""

PLACE = 16
"""Parameters start at multiples of so many numbers, 64 bytes, as tensors of their own do: their products
are then rounded in the same way."""

FEW_INPUTS = 3
"""Inputs of a layer up to which its weights learn at the full rate. All weights take steps of one size, so that a layer
of many inputs moves farther: in thirty dimensions cells are then carried off by a rate that is right for two."""

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises, before its cosine decay to 0."""


class Optimiser:
    """Adam (:cite:p:`Kingma15`) with a learning rate that ends at 0 after ``n_steps``.

    ``values``: the weights of ``networks``, of which their parameters become views, as their gradients do. The layers
    ``of_positions`` learn more slowly where these have many axes (see `FEW_INPUTS`).
    """

    def __init__(self, networks: nn.Module, lr: float, n_steps: int, of_positions: Sequence[nn.Linear] = ()):
        self.lr, self.n_steps, self.step_count = lr, n_steps, 0
        self.values = as_one(networks)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.values) for _ in range(3))
        for parameter, own in _parts(self.gradient, networks):
            parameter.grad = own
        self.pace = torch.ones_like(self.values)
        n_inputs = {id(layer.weight): layer.in_features for layer in of_positions}
        for parameter, own in _parts(self.pace, networks):
            own.fill_(min(1.0, FEW_INPUTS / n_inputs.get(id(parameter), FEW_INPUTS)))

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients, which are then cleared."""
        lr = self.lr * schedule(self.step_count / self.n_steps)
        self.step_count += 1
        (beta1, beta2), g = BETAS, self.gradient
        begun1, begun2 = (1 - beta**self.step_count for beta in BETAS)
        self.mean.lerp_(g, 1 - beta1)
        self.square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        root = self.square.sqrt().add_(LEAST_ROOT * begun2**0.5)
        self.values.addcdiv_(self.mean * self.pace, root, value=-lr * begun2**0.5 / begun1)
        g.zero_()


class Average(Generic[N]):
    """``networks`` whose weights follow those of others, at first a copy of them."""

    def __init__(self, networks: N):
        self.networks = copy.deepcopy(networks)
        self.values = as_one(self.networks)

    @torch.no_grad()
    def follow(self, values: Tensor, share: float) -> None:
        """Move by ``share`` of the way to ``values``, those of an `Optimiser`."""
        self.values.lerp_(values, share)


def state(optimiser: Optimiser, average: Average, generator: torch.Generator) -> dict[str, Any]:
    """What all further steps depend on, between two of them; `take_up` goes on from it."""
    moments = {"mean": optimiser.mean, "square": optimiser.square}
    weights = {"values": optimiser.values, "average": average.values}
    return {**weights, **moments, "step": optimiser.step_count, "generator": generator.get_state()}


@torch.no_grad()
def take_up(found: Mapping[str, np.ndarray], optimiser: Optimiser, average: Average, generator: torch.Generator) -> int:
    """Go on from a `state`; the number of steps that were done."""
    vectors = {"values": optimiser.values, "average": average.values}
    for name, vector in {**vectors, "mean": optimiser.mean, "square": optimiser.square}.items():
        vector.copy_(torch.as_tensor(found[name]))
    generator.set_state(torch.as_tensor(found["generator"]))
    optimiser.step_count = int(found["step"])
    return optimiser.step_count


def as_one(networks: nn.Module) -> Tensor:
    """The weights of ``networks`` as a vector, of which their parameters are views from then on."""
    parameters = list(networks.parameters())
    values = parameters[0].new_zeros(sum(_room(parameter) for parameter in parameters))
    for parameter, own in _parts(values, networks):
        own.copy_(parameter.detach())
        parameter.data = own
    return values


def _parts(vector: Tensor, networks: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each parameter and its part of ``vector``."""
    first = 0
    for parameter in networks.parameters():
        yield parameter, vector[first : first + parameter.numel()].view_as(parameter)
        first += _room(parameter)


def _room(parameter: Tensor) -> int:
    return math.ceil(parameter.numel() / PLACE) * PLACE


def schedule(progress: float) -> float:
    """Learning rate at ``progress`` in [0, 1], as a share of its highest."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
