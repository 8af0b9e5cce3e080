"""Networks as plain arrays and back, so that results are stored without pickle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vgfm_sc.core.dynamics.networks import Networks


def weights(networks: Networks) -> dict[str, np.ndarray]:
    """Name of each parameter to its values."""
    return {name: value.detach().cpu().numpy() for name, value in networks.state_dict().items()}


def networks(weights: Mapping[str, np.ndarray], n_dims: int, width: int, depth: int, n_times: int) -> Networks:
    """Networks with the given weights, on the CPU; sizes are compared before anything is allocated.

    Weights that hold conditions give networks that take them, see `Networks.under`.
    """
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    arrays.setdefault("fading", np.zeros(n_dims, dtype=np.float32))  # of older results nothing fades
    found = {name: array.shape for name, array in arrays.items()}
    misfit = f"Stored weights do not fit networks of width {width} and depth {depth} in {n_dims} dimensions: "
    # numbers that no array bears out could make even networks without memory too many
    layers = sum(name.startswith("velocity.") and name.endswith(".weight") for name in found)
    n_conditions, n_numbers = (*found.get("conditions", ()), 0, 0)[:2]
    if (layers, found.get("velocity.0.weight")) != (depth + 1, (width, n_dims + 1 + n_numbers)):
        msg = f"{misfit}{layers} layers, velocity.0.weight of shape {found.get('velocity.0.weight')}."
        raise ValueError(msg)
    n_nodes = 2 * (n_times - 1)
    if found.get("rates") == (n_times,):  # the common rate of older results is linear between time points
        n_nodes = n_times
    with torch.device("meta"):
        with_score = any(name.startswith("density.") for name in found)
        empty = Networks(n_dims, width, depth, n_nodes, with_score=with_score, n_conditions=n_conditions)
    wanted = {name: tuple(value.shape) for name, value in empty.state_dict().items()}
    if wanted != found:
        msg = f"{misfit}{sorted(set(wanted.items()) ^ set(found.items()))}."
        raise ValueError(msg)
    wrong = sorted(name for name, array in arrays.items() if array.dtype.kind != "f" or not np.isfinite(array).all())
    if wrong:
        msg = f"Stored weights are not finite floating-point numbers: {wrong}. Run `vgfm_sc.tl.fit` again."
        raise ValueError(msg)
    values = {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}
    empty.load_state_dict(values, assign=True)
    return empty
