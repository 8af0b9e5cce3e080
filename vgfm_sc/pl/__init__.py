"""Plots of what `tl` wrote; nothing is computed here and ``adata`` is not changed."""

from vgfm_sc.pl._growth import growth
from vgfm_sc.pl._trajectories import trajectories

__all__ = ["growth", "trajectories"]
