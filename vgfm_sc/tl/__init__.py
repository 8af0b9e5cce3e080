"""Tools: each reads AnnData, computes, and writes what its docstring lists."""

from vgfm_sc.tl._evaluate import evaluate
from vgfm_sc.tl._fit import fit
from vgfm_sc.tl._holdout import holdout
from vgfm_sc.tl._project import project
from vgfm_sc.tl._simulate import simulate

__all__ = ["evaluate", "fit", "holdout", "project", "simulate"]
