"""Networks and couplings as plain arrays and back, so that results are stored without pickle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import csr_array

from vgfm_sc.core.coupling import Coupling
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


def coupling_arrays(coupling: Coupling) -> dict[str, np.ndarray]:
    """What `coupling` makes a coupling of again."""
    plan = coupling.plan
    solved = {
        name: np.asarray(getattr(coupling, name)) for name in ("converged", "n_iter", "marginal_error", "n_parts")
    }
    csr = {"data": plan.data, "indices": plan.indices, "indptr": plan.indptr, "shape": np.asarray(plan.shape)}
    return {**csr, "mass0": coupling.mass0, **solved}


def coupling(arrays: Mapping[str, np.ndarray]) -> Coupling:
    """The coupling of which `coupling_arrays` made these."""
    plan = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(map(int, arrays["shape"])))
    plan.check_format()
    solved = bool(arrays["converged"]), int(arrays["n_iter"]), float(arrays["marginal_error"]), int(arrays["n_parts"])
    return Coupling(plan, arrays["mass0"], *solved)
