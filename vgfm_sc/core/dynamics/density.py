"""The log density of cells as a function of time and position, and its gradient, the score.

A network for one number whose gradient is written out: a field that is learnt as a gradient is one exactly, and the
number itself, up to a constant at each time, is minus the landscape.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vgfm_sc.core.dynamics.perceptron import perceptron


class LogDensity(nn.Module):
    """Log density up to a constant at each time, unitless: a standard normal one, and a network for the rest.

    Called as ``(t, x)`` like the other networks, with ``t`` of shape ``(n, n_beside)``, time and what else the networks
    take; answers shape ``(n,)``. All cells together have unit variance, so far from them the normal density leads back.
    """

    def __init__(self, n_dims: int, width: int, depth: int, n_beside: int = 1):
        super().__init__()
        self.network = perceptron(n_dims + n_beside, 1, width, depth)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The log density at ``(t, x)``."""
        return self.network(torch.cat([x, t], dim=1))[:, 0] - x.square().sum(dim=1) / 2

    def score(self, t: Tensor, x: Tensor) -> Tensor:
        """Its gradient in ``x``, shape ``(n, d)``: the chain rule layer by layer, itself an ordinary network."""
        layers = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        state, slopes = torch.cat([x, t], dim=1), []
        for layer in layers[:-1]:
            before = layer(state)
            share = before.sigmoid()
            state = before * share
            slopes.append(share + state * (1 - share))
        along: Tensor = layers[-1].weight
        for layer, slope in zip(reversed(layers[:-1]), reversed(slopes), strict=True):
            along = (along * slope) @ layer.weight
        return along[:, : x.shape[1]] - x
