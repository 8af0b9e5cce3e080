"""The pairs that a plan is solved on: those that matter, or all of them where they are few."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

LOWEST = -700.0
"""The exponential of less is too small for a normal number, and takes ten times as long to compute."""

NOTHING = 1e-300
"""Just above the exponential of `LOWEST`, which `exp_` gives to everything lower: what is below this counts as 0."""

AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Whether numpy's exponential is faster than torch's: it then takes half the time, and else up to three times."""

FEW_THREADS = 2
"""Of torch, up to which numpy, which has one, is as fast."""

TINY = 1e-200
"""Mass below which a pair has none: products with numbers near the end of the range are slow."""


def damped(eps: float, rho: float) -> float:
    """What a potential is per unit of log mass where its marginal costs ``rho``: ``eps`` where it is exact."""
    return eps if math.isinf(rho) else eps * rho / (rho + eps)


def exp_(z: Tensor) -> Tensor:
    """The exponential of ``z``, in place; at least that of `LOWEST`."""
    z.clamp_(min=LOWEST)
    if not AVX512 or z.device.type != "cpu" or torch.get_num_threads() > FEW_THREADS:
        return z.exp_()
    values = z.numpy()
    with np.errstate(over="ignore"):  # infinite, as torch has it
        np.exp(values, out=values)
    return z


class Support:
    """Some pairs of a source and a target with their cost, sorted by source, and those of a source by target.

    ``counts``: pairs of each source, shape ``(n,)``. ``columns``: target of each pair. ``cost``: of each pair.
    """

    def __init__(self, counts: Tensor, columns: Tensor, cost: Tensor, shape: tuple[int, int]):
        self.columns, self.cost, self.shape = columns, cost, shape
        self.rows = torch.repeat_interleave(torch.arange(shape[0], device=counts.device, dtype=torch.int32), counts)

    def joined(self, other: Support) -> Support:
        """The pairs of either."""
        keys = torch.cat([part.rows.long() * self.shape[1] + part.columns for part in (self, other)])
        # stable: of a pair in both parts the first cost is kept. Both parts are sorted, which numpy merges quickly
        if keys.device.type == "cpu":
            order = torch.from_numpy(np.argsort(keys.numpy(), kind="stable"))
        else:
            order = keys.argsort(stable=True)
        keys = keys[order]
        first = torch.ones_like(keys, dtype=torch.bool)
        torch.ne(keys[1:], keys[:-1], out=first[1:])
        kept, cost = keys[first], torch.cat([self.cost, other.cost])[order[first]]
        rows = kept // self.shape[1]
        return Support(rows.bincount(minlength=self.shape[0]), (kept % self.shape[1]).int(), cost, self.shape)

    def target_potential(self, f: Tensor, a: Tensor, b: Tensor, eps: float, target_rho: float = math.inf) -> Tensor:
        """The g that is optimal for ``f`` on these pairs, shape ``(m,)``."""
        z = ((f / eps + a.log())[self.rows]).sub_(self.cost / eps)
        columns = self.columns.long()
        top = torch.full_like(b, -torch.inf).scatter_reduce_(0, columns, z, "amax")
        total = torch.zeros_like(b).index_add_(0, columns, exp_(z.sub_(top[columns])))
        return -damped(eps, target_rho) * (top + total.log())

    def source_potential(self, f: Tensor, g: Tensor, b: Tensor, eps: float, rho: float) -> Tensor:
        """The f that is optimal for ``g`` on these pairs, shape ``(n,)``; as it was for a source without pairs."""
        z = ((g / eps + b.log())[self.columns]).sub_(self.cost / eps)
        rows = self.rows.long()
        top = torch.full_like(f, -torch.inf).scatter_reduce_(0, rows, z, "amax")
        total = torch.zeros_like(f).index_add_(0, rows, exp_(z.sub_(top[rows])))
        return torch.where(total > 0, -damped(eps, rho) * (top + total.log()), f)

    def log_mass(self, f: Tensor, g: Tensor, a: Tensor, b: Tensor, eps: float) -> Tensor:
        """Log of the mass of each pair at the potentials ``f`` and ``g``."""
        return (f / eps + a.log())[self.rows].add_((g / eps + b.log())[self.columns]).sub_(self.cost / eps)

    def csr(self, mass: Tensor) -> csr_array:
        """The plan with ``mass`` at these pairs, in scipy's terms."""
        pointers = np.zeros(self.shape[0] + 1, dtype=np.int32)
        np.cumsum(self.rows.bincount(minlength=self.shape[0]).cpu().numpy(), out=pointers[1:])
        return csr_array((mass.cpu().numpy(), self.columns.cpu().numpy(), pointers), shape=self.shape)

    def matrix(self, mass: Tensor) -> Matrix:
        """The plan with ``mass`` at these pairs."""
        return Matrix.of(self.rows, self.columns, torch.threshold(mass, TINY, 0.0), self.shape)


class AllPairs:
    """All pairs of a source and a target with their ``cost``, shape ``(n, m)``: answers as `Support` does.

    Looking every pair up by its indices takes longer than computing it, so where there are few it pays to take all.
    """

    def __init__(self, cost: Tensor):
        self.cost, self.shape = cost, tuple(cost.shape)

    def target_potential(self, f: Tensor, a: Tensor, b: Tensor, eps: float, target_rho: float = math.inf) -> Tensor:
        """The g that is optimal for ``f``, shape ``(m,)``."""
        z = torch.sub((f / eps + a.log())[:, None], self.cost, alpha=1 / eps)
        return -damped(eps, target_rho) * log_sum(z, 0)

    def source_potential(self, f: Tensor, g: Tensor, b: Tensor, eps: float, rho: float) -> Tensor:
        """The f that is optimal for ``g``, shape ``(n,)``."""
        return -damped(eps, rho) * log_sum(torch.sub(g / eps + b.log(), self.cost, alpha=1 / eps), 1)

    def log_mass(self, f: Tensor, g: Tensor, a: Tensor, b: Tensor, eps: float) -> Tensor:
        """Log of the mass of each pair at the potentials ``f`` and ``g``, shape ``(n, m)``."""
        z = torch.sub(g / eps + b.log(), self.cost, alpha=1 / eps)
        return z.add_((f / eps + a.log())[:, None]).clamp_(min=LOWEST)

    def matrix(self, mass: Tensor) -> Matrix:
        """The plan with ``mass``, shape ``(n, m)``, which is overwritten."""
        mass = torch.threshold_(mass, TINY, 0.0)
        return Matrix(mass, mass.T)


def log_sum(z: Tensor, dim: int) -> Tensor:
    """Log of the sum of exp(z) along ``dim``; ``z`` is overwritten."""
    top = z.amax(dim, keepdim=True)
    return exp_(z.sub_(top)).sum(dim).log_().add_(top.squeeze(dim))


class Matrix(NamedTuple):
    """A sparse plan, shape ``(n, m)``, and its transpose, both compressed by row."""

    plan: Tensor
    transpose: Tensor

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, mass: Tensor, shape: tuple[int, int]) -> Matrix:
        """From pairs sorted by row."""
        if mass.device.type == "cpu":  # entries are counted into place, which is faster than sorting them
            place = torch.arange(len(mass)).numpy()
            pointers = np.append(0, rows.bincount(minlength=shape[0]).cumsum(0).numpy())
            order = torch.from_numpy(csr_array((place, columns.numpy(), pointers), shape=shape).tocsc().data)
        else:
            order = torch.argsort(columns, stable=True)
        return cls(
            _csr(rows, columns, mass, shape), _csr(columns[order], rows[order], mass[order], (shape[1], shape[0]))
        )


def _csr(rows: Tensor, columns: Tensor, mass: Tensor, shape: tuple[int, int]) -> Tensor:
    pointers = torch.zeros(shape[0] + 1, dtype=torch.int32, device=rows.device)
    pointers[1:] = rows.bincount(minlength=shape[0]).cumsum(0)
    return torch.sparse_csr_tensor(pointers, columns, mass, size=shape, check_invariants=False)


with warnings.catch_warnings():  # torch says once in a process that these are new; here no other thread is disturbed
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    _csr(torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32), torch.ones(1), (1, 1))
