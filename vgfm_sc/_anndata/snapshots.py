"""Positions, times and masses of the cells, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import anndata as ad
import numpy as np

from vgfm_sc._anndata.conditions import Conditions, read_conditions
from vgfm_sc._anndata.groups import Groups
from vgfm_sc._anndata.keys import check_name
from vgfm_sc._anndata.masses import COUNTS, check_totals, read_given, read_given_by_condition
from vgfm_sc._anndata.modalities import owners
from vgfm_sc._anndata.representation import Representation
from vgfm_sc._anndata.samples import Samples, read_samples
from vgfm_sc._time import SAME_TIME, parse_time

MOST_NAMED = 5
"""Times that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """When cells were sampled, and how much mass there was.

    ``time``: shape ``(n_obs,)``. ``time_points``: the distinct times, increasing. ``rows``: for each time point the
    positions of its cells in the object. ``given``: total mass of each time point where the user has named it; `None`
    where each cell counts as 1. ``labels``: times by their names, where the user has named them. ``conditions``: where
    there are several; ``given`` then has a row for each, NaN at times that it does not go through. ``samples``: where
    they are known; ``given`` then holds means over them.
    """

    time: np.ndarray
    time_points: np.ndarray
    rows: list[np.ndarray]
    given: np.ndarray | None = None
    labels: Mapping[str, float] | None = None
    conditions: Conditions | None = None
    samples: Samples | None = None

    @property
    def totals(self) -> np.ndarray:
        """Observed mass of each time point, shape ``(n_time_points,)``: its number of cells, or what the user said."""
        if self.given is not None:
            return self.given
        return np.asarray([len(rows) for rows in self.rows], dtype=float)

    def groups(self) -> Groups:
        """The cells of each time point and, if there are several, of each condition."""
        return Groups.of(self.rows, self.conditions)

    def courses(self) -> dict[str | None, Self]:
        """`under` each condition, by its name; without conditions the one course there is, by `None`."""
        names: Sequence[str | None] = [None] if self.conditions is None else self.conditions.names
        return {name: self.under(name) for name in names}

    def under(self, name: str | None) -> Self:
        """The course of one condition: its time points, cells and totals, as if there were no other.

        ``time`` stays that of all cells. `None` is the one course of a fit without conditions.
        """
        conditions = self.conditions
        if conditions is None:
            return self
        k = conditions.number(name)
        at = conditions.passed(k)
        totals = conditions.totals(self.rows, k) if self.given is None else self.given[k, at]
        points, rows = self.time_points[at], conditions.rows(self.rows, k)
        return replace(self, time_points=points, rows=rows, given=totals, conditions=None)

    def at(self, x: np.ndarray) -> Snapshots:
        """The same with the positions of the cells, shape ``(n_obs, d)``."""
        return Snapshots(**vars(self), x=x)


@dataclass(frozen=True, kw_only=True)
class Snapshots(Sampling):
    """Cells by time point, with their positions ``x`` in the representation, shape ``(n_obs, d)``."""

    x: np.ndarray

    @property
    def sampling(self) -> Sampling:
        """The same without positions."""
        return Sampling(**{name: value for name, value in vars(self).items() if name != "x"})


def read_snapshots(
    adata: ad.AnnData,
    time_key: str,
    representation: Representation,
    time_map: Mapping[Any, float] | None = None,
    mass: str | Mapping[Any, Any] = COUNTS,
    condition_key: str | None = None,
    sample_key: str | None = None,
) -> Snapshots:
    """Positions, times and masses of all cells, checked."""
    read_time(adata, time_key, time_map)  # what is wrong with the times is said before the representation is read
    x = representation.read(adata)
    return read_sampling(adata, time_key, time_map, mass, condition_key, sample_key).at(x)


def read_sampling(
    adata: ad.AnnData,
    time_key: str,
    time_map: Mapping[Any, float] | None = None,
    mass: str | Mapping[Any, Any] = COUNTS,
    condition_key: str | None = None,
    sample_key: str | None = None,
) -> Sampling:
    """Times and masses of all cells, checked."""
    time = read_time(adata, time_key, time_map)
    time_points, which = np.unique(time, return_inverse=True)
    if len(time_points) < 2:
        msg = f"obs[{time_key!r}] holds one time point ({time_points[0]:g}); at least two are needed."
        raise ValueError(msg)
    gaps = np.diff(time_points)
    if gaps.min() <= SAME_TIME * np.ptp(time_points):
        k = int(gaps.argmin())
        msg = (
            f"Times {float(time_points[k])!r} and {float(time_points[k + 1])!r} of obs[{time_key!r}] differ by a "
            "millionth of the time course or less. Make them one if they are the same; otherwise, drop the time far "
            "from both."
        )
        raise ValueError(msg)
    rows = [np.flatnonzero(which == k) for k in range(len(time_points))]
    small = [f"{t:g}" for t, r in zip(time_points, rows, strict=True) if len(r) < 2]
    if small:
        some = ", ".join(small[:MOST_NAMED]) + (", ..." if len(small) > MOST_NAMED else "")
        msg = (
            f"{len(small)} of {len(time_points)} time points of obs[{time_key!r}] have fewer than 2 cells: {some}. "
            "Drop them or merge them with a neighbour; a continuous time, such as a pseudotime, is not a sampling time."
        )
        raise ValueError(msg)
    labels = None if time_map is None else {str(label): float(t) for label, t in time_map.items()}
    conditions = None if condition_key is None else read_conditions(adata, condition_key, rows, time_points)
    groups = Groups.of(rows, conditions)
    samples = None if sample_key is None else read_samples(adata, sample_key, groups, mass)
    given: np.ndarray | None
    if samples is not None and samples.sizes is not None:
        means = [samples.total(cells) for cells in groups.rows]
        check_totals(np.asarray(means), time_points[groups.place])
        given = groups.by_condition(means, conditions)
    elif conditions is None:
        given = read_given(adata, mass, time, time_points, labels)
    else:
        given = read_given_by_condition(adata, mass, time, time_points, labels, conditions)
    return Sampling(
        time=time,
        time_points=time_points,
        rows=rows,
        given=given,
        labels=labels,
        conditions=conditions,
        samples=samples,
    )


def read_time(adata: ad.AnnData, time_key: str, time_map: Mapping[Any, float] | None = None) -> np.ndarray:
    """``obs[time_key]`` as float64, shape ``(n_obs,)``; the user's column is not changed."""
    check_name(time_key, "time_key")
    if time_key not in adata.obs:
        msg = (
            f"Time key {time_key!r} not found in adata.obs. Available: {list(adata.obs.columns)}."
            f"{owners(adata, 'obs', time_key)}"
        )
        raise KeyError(msg)
    if adata.n_obs == 0:
        msg = "adata has no cells."
        raise ValueError(msg)
    if list(adata.obs.columns).count(time_key) > 1:
        msg = f"adata.obs has several columns {time_key!r}. Keep the one with the times."
        raise ValueError(msg)
    return parse_time(adata.obs[time_key], f"obs[{time_key!r}]", time_map)
