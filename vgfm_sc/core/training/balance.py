"""Make the simulated total mass equal the observed one.

Totals are what the data say most surely about growth, and networks meet them only nearly. What is missing is one
number a time point, so a rate that depends on time alone, common to all cells, closes the gap exactly; weights
normalised at a time point, and with them every distance between distributions, stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.dynamics import flow
from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.networks import Networks

TOL = 1e-4
"""Integration error, as a share of the data's spread: the masses then err by far less than they can be known."""


@torch.no_grad()
def balance(networks: Networks, start: Tensor, times: Sequence[float], totals: Sequence[float]) -> None:
    """Set the common rate so that cells ``start``, shape ``(n, d)``, grow to ``totals`` (relative to the first).

    The rate is constant between ``times``, so that a surplus in one interval changes no other.
    """
    mass = np.zeros(len(times))
    for x in start.split(BLOCK_CELLS):
        _, log_m = flow.integrate(networks.individual, x, torch.zeros_like(x[:, 0]), times, tol=TOL)
        mass += log_m.cpu().double().exp().sum(1).numpy()
    surplus = np.log(mass / len(start) / np.asarray(totals))
    networks.rates.copy_(torch.as_tensor(np.repeat(-np.diff(surplus) / np.diff(times), 2)))
    networks.times.copy_(torch.as_tensor(np.repeat(times, 2)[1:-1]))
