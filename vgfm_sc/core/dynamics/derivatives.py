"""How the fitted growth and velocity change with position."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.model import Model


def growth_gradients(model: Model, t: np.ndarray, x: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """dg/dx at times ``t``, shape ``(n,)``, and positions ``x``, shape ``(n, d)``, for up to ``size`` cells at a time.

    Each block has shape ``(cells, d)``, float64, per unit of time and of the representation.
    """
    axes, length = model.scaling.axes, model.scaling.length
    for unit, time, state in _unitless(model, t, x, size):
        with torch.enable_grad():
            total = model.networks.individual(time, state)[1].sum()
        gradient = torch.autograd.grad(total, state)[0].cpu().double().numpy() / (length * unit[:, None])
        yield gradient if axes is None else gradient @ axes


def velocity_jacobian(model: Model, t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Mean over cells of dv/dx, per unit of time, float64; row: of which velocity; column: by which position.

    Along the axes trained on, shape ``(q, q)``: all there are, or the ``axes`` of the scaling, across which velocity
    neither goes nor changes. At times ``t``, shape ``(n,)``, and positions ``x``, shape ``(n, d)``.
    """
    total = np.zeros((model.scaling.n_axes, model.scaling.n_axes))
    for unit, time, state in _unitless(model, t, x, BLOCK_CELLS):
        with torch.enable_grad():
            v = model.networks.individual(time, state)[0]
            along = (v / torch.as_tensor(unit[:, None]).to(v)).sum(0).unbind()
        # cells do not see each other: the gradient of a sum over cells holds that of each, for one axis at a time
        for k, of_axis in enumerate(along):
            total[k] += torch.autograd.grad(of_axis, state, retain_graph=True)[0].double().sum(0).cpu().numpy()
    return total / len(x)  # the unit of length cancels


def _unitless(model: Model, t: np.ndarray, x: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """By blocks, units of time, and times and positions as the networks take them; the positions ask for gradients."""
    device = model.networks.low.device
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        inputs = model.scaling.to_unitless_time(t[rows]), model.scaling.to_unitless(x[rows])
        time, state = (torch.as_tensor(i, dtype=torch.float32, device=device) for i in inputs)
        yield model.scaling.time_unit_at(t[rows]), time, state.requires_grad_()
