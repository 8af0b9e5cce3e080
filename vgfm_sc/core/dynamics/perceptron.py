"""Fully connected networks whose weights come from a generator of their own."""

from __future__ import annotations

import math

import torch
from torch import nn


def perceptron(n_in: int, n_out: int, width: int, depth: int) -> nn.Sequential:
    """``depth`` hidden layers of ``width`` units, weights not set."""
    layers: list[nn.Module] = [_layer(n_in, width), nn.SiLU()]
    for _ in range(depth - 1):
        layers += [_layer(width, width), nn.SiLU()]
    return nn.Sequential(*layers, _layer(width, n_out))


def _layer(n_in: int, n_out: int) -> nn.Linear:
    """As `torch.nn.utils.skip_init`, which imports sympy."""
    layer = nn.Linear(n_in, n_out, device="meta")
    layer.weight, layer.bias = nn.Parameter(torch.empty(n_out, n_in)), nn.Parameter(torch.empty(n_out))
    return layer


@torch.no_grad()
def initialise(layer: nn.Linear, generator: torch.Generator) -> None:
    """As `torch.nn.Linear` initialises itself, from ``generator`` in place of torch's global one."""
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
