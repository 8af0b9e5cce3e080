"""The numbers of a training: checked once, stored with the result, and part of the name of a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vgfm_sc import _checks


@dataclass(frozen=True)
class Settings:
    """See `vgfm_sc.tl.fit` for what each of them does."""

    width: int
    depth: int
    match_steps: int
    match_size: int
    match_lr: float
    fit_steps: int
    fit_cells: int
    fit_lr: float
    mass_weight: float
    patience: int | None
    score: bool
    seed: int

    def __post_init__(self) -> None:
        for name in ("width", "depth", "match_steps", "match_size"):
            _checks.whole(name, getattr(self, name))
        _checks.whole("fit_steps", self.fit_steps, least=0)
        _checks.whole("fit_cells", self.fit_cells, least=2)  # samples are cut in halves
        if self.patience is not None:
            _checks.whole("patience", self.patience)
        for name in ("match_lr", "fit_lr"):
            _checks.real(name, getattr(self, name))
        _checks.real("mass_weight", self.mass_weight, zero=True)
        if not isinstance(self.score, bool):
            msg = f"score must be True or False, got {self.score!r}."
            raise TypeError(msg)
        _checks.seed(self.seed)

    def stored(self) -> dict[str, Any]:
        """As a result keeps them: files have no place for `None`."""
        return {name: value for name, value in asdict(self).items() if value is not None}
