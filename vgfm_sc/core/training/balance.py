"""Make the simulated total mass equal the observed one.

Totals are what the data say most surely about growth, and networks meet them only nearly. What is missing is one
number a time point, so a rate that depends on time alone, common to all cells, closes the gap exactly; weights
normalised at a time point, and with them every distance between distributions, stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.dynamics import flow
from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.networks import Networks

TOL = 1e-4
"""Integration error, as a share of the data's spread: the masses then err by far less than they can be known."""


@torch.no_grad()
def balance(
    networks: Networks,
    start: Tensor,
    times: Sequence[float],
    totals: Sequence[float],
    condition: int | None = None,
    points: Sequence[float] | None = None,
) -> None:
    """Set the common rate so that cells ``start``, shape ``(n, d)``, grow to ``totals`` (relative to the first).

    The rate is constant between ``times``, so that a surplus in one interval changes no other. With a ``condition`` it
    is the rate of that one, between ``points``, the times of all conditions; after its own last time it goes on.
    """
    mass, field = np.zeros(len(times)), partial(networks.individual, condition=condition)
    for x in start.split(BLOCK_CELLS):
        _, log_m = flow.integrate(field, x, torch.zeros_like(x[:, 0]), times, tol=TOL)
        mass += log_m.cpu().double().exp().sum(1).numpy()
    surplus = np.log(mass / len(start) / np.asarray(totals))
    points = times if points is None else points
    interval = np.minimum(np.searchsorted(times, points[:-1], side="right"), len(times) - 1) - 1
    rate = (-np.diff(surplus) / np.diff(times))[interval]
    rates = networks.rates if condition is None else networks.rates[condition]
    rates.copy_(torch.as_tensor(np.repeat(rate, 2)))
    networks.times.copy_(torch.as_tensor(np.repeat(points, 2)[1:-1]))
