"""Methods: a coupling, a path and the numbers of a paper.

Write your own by filling in `Method` and passing it to ``vgfm_sc.tl.fit(..., method=...)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vgfm_sc import _checks
from vgfm_sc.core import path as paths
from vgfm_sc.core.geodesics import geodesics
from vgfm_sc.core.transport import entropic

__all__ = ["Method", "bridge", "manifold", "otcfm", "vgfm", "wfr"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True)
class Method:
    """How snapshots are coupled and joined.

    Parameters
    ----------
    coupling
        Function ``(x0, x1, mass0, mass1, generator) -> plan``: unitless positions, shapes ``(n, d)`` and ``(m, d)``,
        float32 tensors on the device of the fit; masses of shapes ``(n,)`` and ``(m,)``, a CPU ``torch.Generator``.
        With a growth prior ``mass0`` is what the cells are expected to become by the end of the interval. With
        ``shared_growth`` both masses are those expected in the middle of the interval, and the plan is scaled to the
        observed masses afterwards.
        The plan, shape ``(n, m)``, holds the mass each source cell sends to each target cell; it may be an array, a
        tensor, a scipy sparse matrix or a `vgfm_sc.core.coupling.Coupling`. Column j must sum to ``mass1[j]``, within
        0.1% of the total mass over all columns, and every row needs a positive sum: what a row sums to is what its
        cell becomes. Several threads may call it at the same time, each for an interval, so it must not change what
        they share.
    path
        Function ``(x0, x1, log_growth, s) -> PathPoint`` on pairs, ``s`` in [0, 1]: see `vgfm_sc.core.path`.
    noise
        Standard deviation of Gaussian noise on the path, per axis, as a share of the distance between a cell and its
        nearest neighbour per axis (median over a snapshot). In more than two dimensions ``d`` it is
        ``(d / 2) ** 0.25`` times as much, at most 1.5 times.
    smooth
        Bend the paths so that velocity and growth are continuous across time points; ends and marginals stay.
    name
        Stored with the result.
    settings
        Numbers worth storing with the result.
    shared_growth
        Cells of one state multiply alike at all times: all intervals are coupled twice to learn how, and again with
        that growth expected, see `vgfm_sc.core.transport.growth`.
    sigma
        Standard deviation of Brownian motion, per axis, in units of the representation per square root of the unit of
        time. Paths are then bridges of it: they wander about ``path``, and not at the ends. The coupling is also given
        the keyword ``spread``, the unitless standard deviation over the interval, and so must take it. `None`: cells
        follow ``path``.
    takes_clones
        Whether the coupling takes the keyword ``clones``, a pair of integer arrays of shapes ``(n,)`` and ``(m,)``: the
        clone of each cell, -1 in cells without a barcode and where a clone was seen at one end of the interval alone.
        ``vgfm_sc.tl.fit(clone_key=...)`` needs it.
    takes_rho_factor
        Whether the coupling takes the keyword ``rho_factor``, a number of at least 1 by which it multiplies its penalty
        on growth other than expected. It is passed with ``shared_growth`` alone.
    prepare
        Function ``(cells, generator) -> path`` that makes the path function of a fit from its cells: unitless
        positions of all snapshots, a list of float32 tensors of shapes ``(n_k, d)`` on the device of the fit, and a CPU
        ``torch.Generator``. What it returns takes the place of ``path``. `None`: ``path`` is taken as it is.
    """

    coupling: Callable
    path: Callable = paths.straight
    noise: float = 0.0
    smooth: bool = False
    name: str = "custom"
    settings: dict[str, Any] = field(default_factory=dict)
    shared_growth: bool = False
    sigma: float | None = None
    takes_clones: bool = False
    prepare: Callable | None = None
    takes_rho_factor: bool = False

    def __post_init__(self) -> None:
        for name in ("coupling", "path"):
            if not callable(getattr(self, name)):
                msg = f"{name} must be a function, got {getattr(self, name)!r}."
                raise TypeError(msg)
        if self.prepare is not None and not callable(self.prepare):
            msg = f"prepare must be a function or None, got {self.prepare!r}."
            raise TypeError(msg)
        _checks.real("noise", self.noise, zero=True)
        if self.sigma is not None:
            _checks.real("sigma", self.sigma)


def vgfm(
    *,
    eps: float = 0.002,
    rho: float = 1.0,
    drift_rho: float | None = 0.2,
    noise: float = 0.75,
    smooth: bool = True,
    shared_growth: bool = True,
) -> Method:
    """Joint velocity-growth flow matching (:cite:p:`Wang25`): semi-relaxed coupling, paths of even speed and growth.

    Three additions, each of which can be turned off: cells are coupled from where they drift to and with the growth
    that they show at other times, and paths, straight as published, are bent to join smoothly.
    ``vgfm(drift_rho=None, smooth=False, shared_growth=False)`` couples and joins as published.

    Parameters
    ----------
    eps
        Entropic penalty, as a share of the mean squared distance between two independent cells of the data.
    rho
        Penalty on unequal growth, in the same unit. Large: all cells grow alike; small: mass appears wherever it is
        needed instead of moving there. With ``shared_growth``, it is the penalty of the first plans; later it
        is up to four times as high in intervals with little growth other than expected.
    drift_rho
        The penalty in a first plan that says how cells drift; the plan proper couples them from there, see
        `vgfm_sc.core.transport.drift`. `None` couples cells from where they stand.
    noise
        Standard deviation of Gaussian noise on the path, per axis, as a share of the distance between a cell and its
        nearest neighbour per axis (median over a snapshot). In more than two dimensions ``d`` it is
        ``(d / 2) ** 0.25`` times as much, at most 1.5 times.
    smooth
        Bend the straight paths so that velocity and growth are continuous across time points, see
        `vgfm_sc.core.training.smoothing`.
    shared_growth
        Expect the growth that cells show at one time of cells in the same state at other times, so that it is not taken
        for motion at forks. Intervals are then coupled three times. See `vgfm_sc.core.transport.growth`.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", method=vgfm_sc.methods.vgfm(rho=1.0))
    """
    for name, value in (("eps", eps), ("rho", rho), ("drift_rho", drift_rho)):
        if value is not None:
            _checks.real(name, value)
    _checks.real("noise", noise, zero=True)
    coupling = partial(entropic.semi_relaxed, eps=eps, rho=rho, drift_rho=drift_rho)
    settings = {"eps": eps, "rho": rho, "noise": noise, "smooth": smooth, "shared_growth": shared_growth}
    if drift_rho is not None:
        settings["drift_rho"] = drift_rho
    return Method(
        coupling,
        noise=noise,
        smooth=smooth,
        shared_growth=shared_growth,
        takes_clones=True,
        takes_rho_factor=shared_growth,
        name="vgfm",
        settings=settings,
    )


def otcfm(*, eps: float = 0.002, noise: float = 0.75) -> Method:
    """Optimal-transport conditional flow matching (:cite:p:`Tong24`): balanced coupling, growth alike for all cells.

    Parameters
    ----------
    eps, noise
        As in `vgfm`.
    """
    _checks.real("eps", eps)
    _checks.real("noise", noise, zero=True)
    coupling = partial(entropic.balanced, eps=eps)
    return Method(coupling, noise=noise, takes_clones=True, name="otcfm", settings={"eps": eps, "noise": noise})


def bridge(*, sigma: float, rho: float = 0.5) -> Method:
    """Unbalanced Schroedinger bridge (:cite:p:`Tong24b`): cells of known noise, that also divide and die.

    Of all Brownian motions between two snapshots, the one most like free Brownian motion: its entropic plan is
    semi-relaxed, so that cells may grow. A run of `vgfm_sc.tl.simulate` with ``noise=sigma`` is the bridge, one without
    noise has the same populations.

    Parameters
    ----------
    sigma
        Standard deviation of the Brownian motion, per axis, in units of the representation per square root of the unit
        of time, as the ``noise`` of `vgfm_sc.tl.simulate`. Snapshots do not say how much noise there is: the number is
        yours. Over no interval may it exceed the standard deviation of the data per axis.
    rho
        As in `vgfm`.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", method=vgfm_sc.methods.bridge(sigma=0.1))
    >>> vgfm_sc.tl.simulate(adata, noise=0.1)
    """
    _checks.real("sigma", sigma)
    _checks.real("rho", rho)
    coupling = partial(entropic.bridged, rho=rho)
    return Method(coupling, takes_clones=True, name="bridge", settings={"sigma": sigma, "rho": rho}, sigma=sigma)


def wfr(*, delta: float = 1.0, eps: float = 0.002, noise: float = 0.75, smooth: bool = True) -> Method:
    """Wasserstein-Fisher-Rao flow matching (:cite:p:`Peng26`): cells move and grow along geodesics of one metric.

    One number, ``delta``, sets the price of growth against that of motion, in the coupling and on the paths. On a path
    mass is quadratic in time, and mass times velocity is constant.

    Parameters
    ----------
    delta
        Length that says how expensive growth is, as a share of the root mean squared distance between two independent
        cells of the data. Cells at pi ``delta`` or farther exchange no mass. Large: all cells grow alike; small: mass
        appears wherever it is needed instead of moving there. Every cell needs one at the other time within reach.
    eps, noise
        As in `vgfm`.
    smooth
        Bend the geodesics so that velocity and growth are continuous across time points, see
        `vgfm_sc.core.training.smoothing`. ``smooth=False`` joins cells as published.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", method=vgfm_sc.methods.wfr(delta=1.0))
    """
    for name, value in (("delta", delta), ("eps", eps)):
        _checks.real(name, value)
    _checks.real("noise", noise, zero=True)
    coupling = partial(entropic.wasserstein_fisher_rao, delta=delta, eps=eps)
    settings = {"delta": delta, "eps": eps, "noise": noise, "smooth": smooth}
    path = partial(paths.travelling, delta=delta)
    return Method(coupling, path, noise=noise, smooth=smooth, name="wfr", settings=settings)


def manifold(
    *,
    detour: float = 4.0,
    n_neighbors: int = 10,
    balanced: bool = False,
    eps: float = 0.002,
    rho: float = 1.0,
    drift_rho: float | None = 0.2,
    noise: float = 0.75,
    smooth: bool = True,
    shared_growth: bool = True,
) -> Method:
    """Paths that keep to the data, as in metric flow matching (:cite:p:`Kapusniak24`): around gaps and not across them.

    A pair of cells is joined by the shortest way among cells of all time points, where a length without cells costs
    more than one with cells. Cells that are ahead or behind thus show the way, and means over neighbouring cells keep
    noise from hiding it. Where cells lie along a straight line, the path is straight; see `vgfm_sc.core.geodesics`.
    Nothing is trained for it. Growth is as in `vgfm`.

    Parameters
    ----------
    detour
        Cost of a length far from all cells, over that of a length among cells, at least 1. A way around a gap is taken
        unless it is that much longer than the one across; at 1 all paths are straight.
    n_neighbors
        How near a cell must be for a place to be among cells, at least 2: about as near as the neighbour of this rank
        is among cells that cover the data evenly, of which 300 at most are taken. There must be more of them.
    balanced
        Couple cells as `otcfm` does, all of them growing alike: ``rho``, ``drift_rho`` and ``shared_growth`` then mean
        nothing. This is OT-MFM with a graph in place of a trained network.
    eps, rho, drift_rho, noise, shared_growth
        As in `vgfm`.
    smooth
        Bend the paths so that velocity and growth are continuous across time points, the less the more a path turns by
        itself.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", method=vgfm_sc.methods.manifold())
    """
    _checks.real("detour", detour)
    if detour < 1:
        msg = f"detour must be at least 1, at which paths are straight, got {detour!r}."
        raise ValueError(msg)
    _checks.whole("n_neighbors", n_neighbors, least=2)
    if balanced:
        base = otcfm(eps=eps, noise=noise)
    else:
        base = vgfm(eps=eps, rho=rho, drift_rho=drift_rho, noise=noise, shared_growth=shared_growth)
    settings = {**base.settings, "detour": detour, "n_neighbors": n_neighbors, "balanced": balanced, "smooth": smooth}
    name, prepare = "otmfm" if balanced else "manifold", partial(geodesics, n_neighbors=n_neighbors, detour=detour)
    return replace(base, prepare=prepare, smooth=smooth, name=name, settings=settings)
