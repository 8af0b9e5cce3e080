"""What is said of the time that a fit takes: before it begins, and beside its bars."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from vgfm_sc.core import jobs
from vgfm_sc.core.cost.estimate import Cost

logger = logging.getLogger(__name__)

LONG, MUCH = 60.0, 2e9
"""Seconds, and bytes, from which what a fit takes is said at level INFO; below it is DEBUG."""

TRUST = 0.05
"""Share of a stage that must be done for its measured pace to count as much as the estimate."""


def tell(of_model: Cost, n_models: int, device: object) -> None:
    """Say what a fit will take."""
    at_once = jobs.at_once(n_models)
    rounds = math.ceil(n_models / at_once)
    whole, memory = of_model.seconds * rounds, of_model.memory * at_once
    surely = (of_model.coupling + of_model.matching) * rounds
    logger.log(
        logging.INFO if whole > LONG or memory > MUCH else logging.DEBUG,
        "fitting on %s will take about %s and %.1f GB beside the data: coupling %s, matching %s, fitting up to %s%s%s",
        device, in_words(whole), memory / 1e9, *map(in_words, (of_model.coupling, of_model.matching, of_model.fitting)),
        f", for each of {n_models} models" if n_models > 1 else "",
        f"; about {in_words(surely)} in all if no fitting is needed" if of_model.fitting else "",
    )  # fmt: skip


def in_words(seconds: float) -> str:
    """With the two digits that an estimate is good for."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.{1 if seconds < 10 * unit else 0}f} {name}"
    return f"{seconds:.0f} s"


class Bar(tqdm):
    """A bar of one stage that also tells what is left of the whole fit.

    ``left``: seconds, from the bar and those that have gone by in its stage. ``fitting``: those of them that fitting
    may take in a later stage. Nobody knows before whether it is needed.
    """

    def __init__(
        self,
        *,
        total: int,
        desc: str,
        disable: bool,
        left: Callable[[Bar, float], float | None],
        fitting: Callable[[], float] = lambda: 0.0,
    ):
        self._left, self._fitting = left, fitting
        super().__init__(total=total, desc=desc, disable=disable)

    @property
    def format_dict(self) -> dict:
        """What is displayed."""
        shown: dict = super().format_dict
        left = self._left(self, shown["elapsed"])
        if left is None:
            return shown
        surely, most = (self.format_interval(math.ceil(seconds)) for seconds in (left - self._fitting(), left))
        text = f"whole fit {most} left" if surely == most else f"whole fit {surely} left, {most} if fitting is needed"
        return {**shown, "postfix": text}


class Progress:
    """Bars of the stages of ``n_models`` models, one after another, and the time that all of it still takes.

    ``cost``: of one model; `None` if nobody knows. A stage is done at the pace measured in it as soon as there is one,
    and so is the same stage of models to come.
    """

    def __init__(self, of_model: Cost | None, n_models: int):
        self.stages: deque[tuple[str, list[float]]] = deque()
        self.pace: dict[str, float] = {}  # seconds in estimated ones, by stage
        if of_model is not None:
            couplings = [("coupling", seconds) for seconds in of_model.couplings]
            model = [*couplings, ("matching", [of_model.matching]), ("fitting", [of_model.fitting])]
            self.stages.extend(model * n_models)

    def bar(self, name: str, total: int) -> Bar:
        """Open the bar of the next stage called ``name``; those before it were taken from a checkpoint."""
        while self.stages and self.stages[0][0] != name:
            self.stages.popleft()
        seconds = self.stages.popleft()[1] if self.stages else []
        each = np.asarray(seconds if len(seconds) == total else [sum(seconds) / max(total, 1)] * total)
        done = np.concatenate([[0.0], each.cumsum()])
        last = [0, 0.0]  # steps, and the seconds that had gone by

        def left(bar: Bar, elapsed: float) -> float | None:
            whole = float(done[-1])
            if not whole:
                return None
            if bar.n != last[0]:
                last[:] = bar.n, elapsed
            reached = float(done[min(bar.n, total)])
            here = reached - float(done[min(bar.initial, total)])
            pace = (last[1] + TRUST * whole) / (here + TRUST * whole)
            if here > TRUST * whole and pace > TRUST:  # not what was read from a checkpoint
                self.pace[name] = pace
            if bar.n == bar.total < total:  # it ended early, and so will those of models to come
                self.pace[name] = elapsed / whole
            to_come = self._to_come("coupling", "matching", "fitting")
            if bar.n == bar.total:
                return to_come
            return max(0.0, (whole - reached) * pace - (elapsed - last[1])) + to_come

        return Bar(total=total, desc=name, disable=False, left=left, fitting=partial(self._to_come, "fitting"))

    def _to_come(self, *names: str) -> float:
        """Seconds of later stages of these ``names``."""
        return sum(sum(seconds) * self.pace.get(stage, 1.0) for stage, seconds in self.stages if stage in names)


def hidden(name: str, total: int) -> Bar:
    """A bar that is not shown."""
    return Bar(total=total, desc=name, disable=True, left=lambda *_: None)
