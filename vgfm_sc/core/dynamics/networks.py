"""The networks: velocity, growth, and log density whose gradient is the score."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vgfm_sc.core.dynamics.density import LogDensity
from vgfm_sc.core.dynamics.perceptron import initialise, perceptron

MARGIN = 0.1
"""Of the box beyond the data, as a share of their range: no cell that moves among them meets the edge, where the field
has a kink that integrators stumble over."""

LEAST_MARGIN = 1e-6
"""Unitless; along an axis on which all cells are alike the box has no width."""

CONDITION_SIZE = 8
"""Numbers that stand for a condition: as many as tell apart more conditions than are compared."""

CONDITION_SD = 0.1
"""Of these numbers before training: conditions start almost alike, and differ where the data do."""

NO_CONDITION = -1
"""In place of a condition: all its numbers are 0, as of what the conditions have in common."""


class Networks(nn.Module):
    """Velocity and growth as functions of time and position, both unitless; smooth, so that the flow is too.

    Called as ``networks(t, x)`` with ``t`` a number or a tensor of shape ``(n,)`` and ``x`` of shape ``(n, d)``;
    answers the velocity, shape ``(n, d)``, and the growth rate d log m / dt, shape ``(n,)``. Growth is one number
    where velocity is many, and smoother: its network is half as wide and a layer less deep. To it comes a rate that
    depends on time alone, ``rates`` at ``n_nodes`` ``times``, linear in between: 0 until `balance` sets it. A time that
    stands there twice has a rate before and one after it, and their mean itself. With ``with_score`` there is a network
    of the log density too, as large as that of growth. Weights are drawn from ``generator``; without one they are
    whatever memory holds, to be loaded.

    With ``n_conditions`` above 0 all of them also take the condition of a cell, `CONDITION_SIZE` numbers that are
    learnt, and ``rates`` has a row for each condition. Such networks are trained; `under` gives those of one condition,
    which have no such input and answer as above.

    Outside the box from ``low`` to ``high``, shape ``(d,)``, the answer is that of the nearest point of the box, and
    once `settle` was called it fades with the distance times ``fading``, shape ``(d,)``: where there are no data
    networks answer anything, and a cell that strays must not be carried off.
    """

    low: Tensor
    high: Tensor
    fading: Tensor
    times: Tensor
    rates: Tensor

    def __init__(
        self,
        n_dims: int,
        width: int,
        depth: int,
        n_nodes: int,
        generator: torch.Generator | None = None,
        *,
        with_score: bool = False,
        n_conditions: int = 0,
    ):
        super().__init__()
        half, less = max(1, width // 2), max(1, depth - 1)
        n_beside = 1 + (CONDITION_SIZE if n_conditions else 0)
        self.velocity = perceptron(n_dims + n_beside, n_dims, width, depth)
        self.growth = perceptron(n_dims + n_beside, 1, half, less)
        self.density = LogDensity(n_dims, half, less, n_beside) if with_score else None
        self.conditions = nn.Parameter(torch.empty(n_conditions, CONDITION_SIZE)) if n_conditions else None
        if generator is not None:
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    initialise(layer, generator)
            if self.conditions is not None:
                nn.init.normal_(self.conditions, std=CONDITION_SD, generator=generator)
        self.register_buffer("low", torch.full((n_dims,), -torch.inf))
        self.register_buffer("high", torch.full((n_dims,), torch.inf))
        self.register_buffer("fading", torch.zeros(n_dims))
        self.register_buffer("times", torch.arange(n_nodes, dtype=torch.float32))
        self.register_buffer("rates", torch.zeros(n_conditions, n_nodes) if n_conditions else torch.zeros(n_nodes))

    def forward(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity and growth at ``(t, x)``."""
        v, g = self.individual(t, x)
        return v, g + self._common_rate(t if isinstance(t, Tensor) else x.new_full((1,), t))

    def individual(self, t: float | Tensor, x: Tensor, condition: int | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same without the common rate: smooth in time.

        ``condition``: of all cells or of each, shape ``(n,)``; its number or `NO_CONDITION`. Only where it is an input.
        """
        v, g = self.unsettled(t, x, condition)
        far = ((x - x.clamp(self.low, self.high)) * self.fading).square()
        along, whole = ((1 - (1 + part).sqrt()).exp() for part in (far, far.sum(dim=1)))
        return v * along, g * whole

    def unsettled(self, t: float | Tensor, x: Tensor, condition: int | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same before `settle`, when nothing fades: what is trained."""
        state = self.state(t, x, condition)
        return self.velocity(state), self.growth(state)[:, 0]

    def state(self, t: float | Tensor, x: Tensor, condition: int | Tensor | None) -> Tensor:
        """What the networks of velocity and growth take, position first."""
        return torch.cat([x.clamp(self.low, self.high), self._beside(t, x, condition)], dim=1)

    def score(self, t: float | Tensor, x: Tensor, condition: int | Tensor | None = None) -> Tensor:
        """Gradient of the log density at ``(t, x)``, shape ``(n, d)``; only with a network of it."""
        assert self.density is not None
        return self.density.score(self._beside(t, x, condition), x.clamp(self.low, self.high))

    def log_density(self, t: float | Tensor, x: Tensor) -> Tensor:
        """Log density at ``(t, x)`` up to a constant at each time, shape ``(n,)``; only with a network of it."""
        assert self.density is not None
        return self.density(_column(t, x), x.clamp(self.low, self.high))

    def common_growth(self, times: Sequence[float]) -> Tensor:
        """Integral of the common rate from ``times[0]`` to each of ``times``, float64."""
        nodes = self.times.cpu().double()
        ends = torch.as_tensor(times, dtype=torch.float64)
        grid = torch.cat([nodes, ends]).unique()
        middle = self._common_rate(((grid[:-1] + grid[1:]) / 2).to(self.times)).cpu().double()
        passed = torch.cat([grid.new_zeros(1), (grid.diff() * middle).cumsum(0)])
        at = passed[torch.searchsorted(grid, ends)]
        return at - at[0]

    def input_layers(self) -> list[nn.Linear]:
        """The layers that take positions."""
        networks = [self.velocity, self.growth]
        if self.density is not None:
            networks.append(self.density.network)
        return [cast(nn.Linear, network[0]) for network in networks]

    def keep_to(self, x: Tensor) -> None:
        """Set the box around ``x``, shape ``(n, d)``: cells, and where they come through."""
        low, high = x.aminmax(dim=0)
        margin = MARGIN * (high - low)
        self.low.copy_(low - margin)
        self.high.copy_(high + margin)

    def settle(self) -> None:
        """From here on cells outside the box slow down; before, when training has to bring them back, they do not.

        Forward as backward, so that a flow can be turned back: a velocity that leads back to the box would carry off
        the cells that are followed backward. And without a kink, which integrators would stumble over.
        """
        margin = (self.high - self.low) * (MARGIN / (1 + 2 * MARGIN))
        self.fading.copy_(1 / margin.clamp(min=LEAST_MARGIN))

    @torch.no_grad()
    def under(self, condition: int) -> Networks:
        """Networks of one condition, without an input for it.

        An input that is the same for all cells adds the same to every unit of the first layers: their bias takes it up.
        """
        assert self.conditions is not None
        alone, of_it = copy.deepcopy(self), self.conditions[condition]
        for layer in alone.input_layers():
            _tell(layer, of_it)
        alone.conditions = None
        alone.rates = self.rates[condition].clone()
        return alone

    def _beside(self, t: float | Tensor, x: Tensor, condition: int | Tensor | None) -> Tensor:
        """What the networks take beside the position: time, and the numbers of the condition."""
        time = _column(t, x)
        if self.conditions is None:
            return time
        assert condition is not None
        if not isinstance(condition, Tensor):
            of_it = self.conditions[condition] if condition >= 0 else torch.zeros_like(self.conditions[0])
            return torch.cat([time, of_it.expand(len(x), -1)], dim=1)
        is_of = condition[:, None] == torch.arange(len(self.conditions), device=condition.device)
        return torch.cat([time, is_of.to(x) @ self.conditions], dim=1)

    def _common_rate(self, t: Tensor) -> Tensor:
        sides = []
        for right in (False, True):
            after = torch.searchsorted(self.times, t, right=right).clamp(1, len(self.times) - 1)
            start, stop = self.times[after - 1], self.times[after]
            share = ((t - start) / (stop - start)).clamp(0, 1)
            sides.append(torch.lerp(self.rates[after - 1], self.rates[after], share))
        return (sides[0] + sides[1]) / 2


def _tell(layer: nn.Linear, known: Tensor) -> None:
    """Take the last inputs of ``layer``, which are ``known``, into its bias."""
    layer.in_features -= len(known)
    inputs, last = layer.weight[:, : layer.in_features], layer.weight[:, layer.in_features :]
    layer.weight, layer.bias = nn.Parameter(inputs.clone()), nn.Parameter(layer.bias + last @ known)


def _column(t: float | Tensor, x: Tensor) -> Tensor:
    """Time as a column beside ``x``."""
    return t[:, None] if isinstance(t, Tensor) else x.new_full((len(x), 1), t)
