"""The optimiser: orthogonalised momentum for hidden matrices, Adam for the rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ADAM_RATIO = 0.1
"""Adam's learning rate as a share of the hidden matrices': its steps are per entry, theirs per singular value."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
"""Jordan et al. (2024): after 5 steps singular values lie within 0.7 and 1.2, enough for a step direction."""

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises, before its cosine decay to 0."""


class Muon:
    """Muon (:cite:p:`Jordan24`): the momentum of a hidden matrix, its singular values set near 1, is the step.

    Hidden matrices of one shape are orthogonalised in one batch. torch's own Muon works in bfloat16, which most
    processors only emulate, and one matrix at a time.
    """

    def __init__(self, networks: nn.Module, lr: float, n_steps: int):
        self.parameters, self.lr, self.n_steps, self.step_count = list(networks.parameters()), lr, n_steps, 0
        hidden: dict[int, list[Tensor]] = {}
        rest = []
        for p in self.parameters:
            if p.ndim == 2 and p.shape[0] == p.shape[1] and p.shape[0] > 1:
                hidden.setdefault(p.shape[0], []).append(p)
            else:
                rest.append(p)
        self.hidden = [(group, torch.stack([torch.zeros_like(p) for p in group])) for group in hidden.values()]
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        self.adam = torch.optim.Adam(rest, lr=ADAM_RATIO * lr, betas=(0.9, 0.99), fused=fused)

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients, which are then cleared."""
        lr = self.lr * schedule(self.step_count / self.n_steps)
        self.step_count += 1
        for group, momentum in self.hidden:
            gradient = torch.stack([p.grad for p in group if p.grad is not None])
            momentum.lerp_(gradient, 1 - MOMENTUM)
            direction = orthogonalised(gradient.lerp_(momentum, MOMENTUM))
            torch._foreach_add_(group, list(direction.unbind(0)), alpha=-lr)
        self.adam.param_groups[0]["lr"] = ADAM_RATIO * lr
        self.adam.step()
        for p in self.parameters:
            p.grad = None


def schedule(progress: float) -> float:
    """Learning rate at ``progress`` in [0, 1], as a share of its highest."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def move_towards(average: nn.Module, networks: nn.Module, share: float) -> None:
    """Move the weights of ``average`` by ``share`` of the way to those of ``networks``."""
    kept: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(networks.parameters())
    torch._foreach_lerp_(kept, new, share)


def orthogonalised(matrices: Tensor) -> Tensor:
    """The matrices, shape ``(k, n, n)``, with singular values moved near 1 by Newton-Schulz iteration."""
    a, b, c = NEWTON_SCHULZ
    x = matrices / matrices.flatten(1).norm(dim=1).clamp(min=1e-30)[:, None, None]
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x
