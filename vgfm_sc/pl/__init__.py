"""Plots of what `tl` wrote; nothing is computed here and ``adata`` is not changed."""

from vgfm_sc.pl._animate import animate
from vgfm_sc.pl._clones import clones
from vgfm_sc.pl._compare import compare
from vgfm_sc.pl._dynamics import dynamics
from vgfm_sc.pl._fate import fate
from vgfm_sc.pl._genes import genes
from vgfm_sc.pl._growth import growth
from vgfm_sc.pl._holdout import holdout
from vgfm_sc.pl._landscape import landscape
from vgfm_sc.pl._loss import loss
from vgfm_sc.pl._mass import mass
from vgfm_sc.pl._perturb import perturb
from vgfm_sc.pl._screen import screen
from vgfm_sc.pl._snapshots import snapshots
from vgfm_sc.pl._trajectories import trajectories
from vgfm_sc.pl._uncertainty import uncertainty
from vgfm_sc.pl._velocity import velocity

__all__ = [
    "animate",
    "clones",
    "compare",
    "dynamics",
    "fate",
    "genes",
    "growth",
    "holdout",
    "landscape",
    "loss",
    "mass",
    "perturb",
    "screen",
    "snapshots",
    "trajectories",
    "uncertainty",
    "velocity",
]


def __dir__() -> list[str]:
    return __all__
