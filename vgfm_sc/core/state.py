"""Networks as plain arrays and back, so that results are stored without pickle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vgfm_sc.core.nets import Networks


def weights(networks: Networks) -> dict[str, np.ndarray]:
    """Name of each parameter to its values."""
    return {name: value.detach().cpu().numpy() for name, value in networks.state_dict().items()}


def networks(weights: Mapping[str, np.ndarray], n_dims: int, width: int, depth: int, n_times: int) -> Networks:
    """Networks with the given weights, on the CPU; sizes are compared before anything is allocated."""
    with torch.device("meta"):
        empty = Networks(n_dims, width, depth, n_times)
    wanted = {name: tuple(value.shape) for name, value in empty.state_dict().items()}
    found = {name: tuple(np.shape(value)) for name, value in weights.items()}
    if wanted != found:
        wrong = sorted(set(wanted.items()) ^ set(found.items()))
        msg = f"Stored weights do not fit networks of width {width} and depth {depth} in {n_dims} dimensions: {wrong}."
        raise ValueError(msg)
    values = {name: torch.tensor(np.asarray(value), dtype=torch.float32) for name, value in weights.items()}
    empty.load_state_dict(values, assign=True)
    return empty
