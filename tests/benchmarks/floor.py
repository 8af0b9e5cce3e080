"""How often the energy distance between two samples of one population is below its floor: 95% are meant to be.

    python floor.py
    python floor.py mixture10 --repeats 200

A sample of ``n`` points, weighted or not, is compared with one of ``m``, whose random halves set the floor.
"""

from __future__ import annotations

import argparse

import numpy as np

from vgfm_sc.core.reading.distances import energy_distance, energy_floor

SHARE = 0.3
"""Of the second cluster in the mass of the mixture."""


def normal(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """One cluster."""
    return rng.standard_normal((n, d))


def heavy(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """One cluster with outliers."""
    return rng.standard_t(3, (n, d))


def mixture(n: int, d: int, rng: np.random.Generator, share: float = SHARE) -> np.ndarray:
    """Two clusters far apart, of a share that varies as chance has it."""
    x = 0.3 * rng.standard_normal((n, d))
    x[rng.random(n) < share, 0] += 5
    return x


def moved(n: int, d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A cluster beside that of `normal`, with the weights that make it the same population."""
    x = rng.standard_normal((n, d))
    x[:, 0] += 0.7
    return x, np.exp(0.7**2 / 2 - 0.7 * x[:, 0])


def rare(n: int, d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The mixture, with a tenth of the points in the second cluster, which carry its share of the mass."""
    x = mixture(n, d, rng, 0.1)
    return x, np.where(x[:, 0] > 2.5, SHARE / 0.1, (1 - SHARE) / 0.9)


CASES = {
    "normal2": (normal, None, 2, 200, 1000),
    "normal10": (normal, None, 10, 100, 100),
    "normal50": (normal, None, 50, 80, 80),
    "normal50few": (normal, None, 50, 50, 600),
    "heavy10": (heavy, None, 10, 100, 300),
    "mixture10": (mixture, None, 10, 60, 300),
    "moved5": (normal, moved, 5, 200, 500),
    "rare10": (mixture, rare, 10, 200, 500),
}
"""Population, the weighted sample of it if there is one, dimensions, and the two sizes."""


def main() -> None:
    """Print the share below the floor, a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--repeats", type=int, default=1000)
    args = parser.parse_args()
    if unknown := set(args.cases) - set(CASES):
        parser.error(f"unknown {sorted(unknown)}; there are {list(CASES)}")
    for name in args.cases:
        population, weighted, d, n, m = CASES[name]
        rng, below = np.random.default_rng(0), 0
        for _ in range(args.repeats):
            y = population(m, d, rng)
            x, mass = weighted(n, d, rng) if weighted else (population(n, d, rng), np.ones(n))
            below += energy_distance(x, y, mass) < energy_floor(y, mass, rng)
        print(f"{name:<12} n {n} m {m} below {below / args.repeats:.3f}", flush=True)


if __name__ == "__main__":
    main()
