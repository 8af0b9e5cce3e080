"""Tools: each reads AnnData, computes, and writes what its docstring lists."""

from vgfm_sc.tl._ancestors import ancestors
from vgfm_sc.tl._annotate import annotate
from vgfm_sc.tl._choose import choose
from vgfm_sc.tl._compare import compare
from vgfm_sc.tl._compare_clones import compare_clones
from vgfm_sc.tl._descendants import descendants
from vgfm_sc.tl._evaluate import evaluate
from vgfm_sc.tl._fate import fate
from vgfm_sc.tl._fit import fit
from vgfm_sc.tl._gene_velocity import gene_velocity
from vgfm_sc.tl._growth_error import growth_error
from vgfm_sc.tl._growth_prior import growth_prior
from vgfm_sc.tl._holdout import holdout
from vgfm_sc.tl._interpolate import interpolate
from vgfm_sc.tl._landscape import landscape
from vgfm_sc.tl._perturb import perturb
from vgfm_sc.tl._project import project
from vgfm_sc.tl._rank_genes import rank_genes
from vgfm_sc.tl._regulators import regulators
from vgfm_sc.tl._screen import screen
from vgfm_sc.tl._simulate import simulate

__all__ = [
    "ancestors",
    "annotate",
    "choose",
    "compare",
    "compare_clones",
    "descendants",
    "evaluate",
    "fate",
    "fit",
    "gene_velocity",
    "growth_error",
    "growth_prior",
    "holdout",
    "interpolate",
    "landscape",
    "perturb",
    "project",
    "rank_genes",
    "regulators",
    "screen",
    "simulate",
]


def __dir__() -> list[str]:
    return __all__
