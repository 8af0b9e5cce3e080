"""Seeded simulators with known truth, and checked downloads of real data."""

from vgfm_sc.datasets._bistable import bistable
from vgfm_sc.datasets._branching import branching
from vgfm_sc.datasets._gaussian_mixture import gaussian_mixture
from vgfm_sc.datasets._mouse_hematopoiesis import mouse_hematopoiesis
from vgfm_sc.datasets._regulatory_network import regulatory_network
from vgfm_sc.datasets._reprogramming import reprogramming
from vgfm_sc.datasets._toggle_switch import toggle_switch

__all__ = [
    "bistable",
    "branching",
    "gaussian_mixture",
    "mouse_hematopoiesis",
    "regulatory_network",
    "reprogramming",
    "toggle_switch",
]


def __dir__() -> list[str]:
    return __all__
