"""The fitted networks in the user's units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from vgfm_sc.core.device import telling_what_to_lower
from vgfm_sc.core.dynamics import flow
from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.dynamics.scaling import Scaling


class Model:
    """``model(t, x) -> (v, g)``: velocity and growth at time ``t`` and position ``x``, in the data's own units.

    Parameters
    ----------
    networks
        Trained, unitless.
    scaling
        Between their units and the user's.
    """

    def __init__(self, networks: Networks, scaling: Scaling):
        self.networks = networks.eval().requires_grad_(False)
        self.scaling = scaling
        self._device = next(networks.parameters()).device

    def __call__(self, t: float | np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Velocity and growth.

        Parameters
        ----------
        t
            Time in the unit of the time key: a number, or shape ``(n,)``.
        x
            Positions in the units of the representation, shape ``(n, d)``.

        Returns
        -------
        Velocity, shape ``(n, d)``, in units of the representation per unit of time; and growth rate d log m / dt,
        shape ``(n,)``, per unit of time. Both float64.
        """
        x, t = self._checked(x, t)
        v, g = np.empty(x.shape), np.empty(len(x))
        for rows, at in zip(self._rows(x), self._blocks(t, x), strict=True):
            unit = self.scaling.time_unit_at(t[rows])
            velocity, growth = (part.cpu().double().numpy() for part in self.networks(*at))
            v[rows], g[rows] = self.scaling.displacement(velocity) / unit[:, None], growth / unit
        return v, g

    def log_density(self, t: float | np.ndarray, x: np.ndarray) -> np.ndarray:
        """Log density of cells, up to a constant at each time; along the axes trained on.

        Parameters
        ----------
        t
            Time in the unit of the time key: a number, or shape ``(n,)``.
        x
            Positions in the units of the representation, shape ``(n, d)``.

        Returns
        -------
        Float64, shape ``(n,)``. Differences between places at one time mean something, others do not.

        Raises
        ------
        ValueError
            The fit has no score.
        """
        if self.networks.density is None:
            msg = (
                "The log density is learnt with the score, and this fit has none. Run `vgfm_sc.tl.fit` again with "
                "score=True."
            )
            raise ValueError(msg)
        x, t = self._checked(x, t)
        log_density = np.empty(len(x))
        for rows, at in zip(self._rows(x), self._blocks(t, x), strict=True):
            log_density[rows] = self.networks.log_density(*at).cpu().double().numpy()
        return log_density

    def _checked(self, x: np.ndarray, t: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions, and a time for each of them."""
        x = np.asarray(x, dtype=float)
        n_dims = len(self.scaling.centre)
        if x.ndim != 2 or x.shape[1] != n_dims:
            msg = f"x has shape {x.shape}; the model was fitted on (n, {n_dims})."
            raise ValueError(msg)
        t = np.asarray(t, dtype=float)
        if t.shape not in ((), (1,), (len(x),)):
            msg = f"t has shape {t.shape}; a number or one time for each of the {len(x)} cells of x is needed."
            raise ValueError(msg)
        return x, np.broadcast_to(t, len(x))

    def _blocks(self, t: np.ndarray, x: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Unitless times and positions, those of `_rows` at once."""
        for rows in self._rows(x):
            yield self._tensor(self.scaling.to_unitless_time(t[rows])), self._tensor(self.scaling.to_unitless(x[rows]))

    @staticmethod
    def _rows(x: np.ndarray) -> list[slice]:
        return [slice(first, first + BLOCK_CELLS) for first in range(0, len(x), BLOCK_CELLS)]

    def simulate(
        self, x: np.ndarray, times: Sequence[float] | np.ndarray, *, tol: float, held: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Follow cells at ``x``, each of mass 1, from ``times[0]`` through the others, in one direction.

        ``tol`` bounds the root-mean-square error of a step, as a share of the data's spread. With ``held``, orthonormal
        directions along the axes trained on, shape ``(q, n_axes)``, cells do not move along these.

        Returns
        -------
        Positions, shape ``(len(times), n, d)``, and masses, shape ``(len(times), n)``.
        """
        positions, masses = np.empty((len(times), *np.shape(x))), np.empty((len(times), len(x)))
        for block, at, mass in self.followed(x, times, tol=tol, held=held):
            positions[:, block], masses[:, block] = at, mass
        return positions, masses

    def followed(
        self, x: np.ndarray, times: Sequence[float] | np.ndarray, *, tol: float, held: np.ndarray | None = None
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """As `simulate`, a block of cells at a time: which cells, their positions and their masses."""
        forth = np.sign(np.diff(np.asarray(times, dtype=float)))
        if not ((forth >= 0).all() or (forth <= 0).all()):
            msg = f"times must lead in one direction, got {list(times)}."
            raise ValueError(msg)
        steps = [float(self.scaling.to_unitless_time(t)) for t in times]
        x = np.asarray(x, dtype=float)
        field = self.networks.individual if held is None else flow.across(self.networks.individual, self._tensor(held))
        common = self.networks.common_growth(steps)[:, None]  # has kinks, which an integrator would stumble over
        for block in self._rows(x):
            at = self._tensor(self.scaling.to_unitless(x[block]))
            with telling_what_to_lower("following"):
                xs, log_ms = flow.integrate(field, at, torch.zeros_like(at[:, 0]), steps, tol=tol)
            moved = x[block] + self.scaling.displacement((xs - at).cpu().double().numpy())
            yield block, moved, (log_ms.cpu().double() + common).exp().numpy()

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.array(values), dtype=torch.float32, device=self._device)
