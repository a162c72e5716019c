"""Seconds to the Hartree-Fock orbitals of large crystals: `python benchmarks/crystal_start.py [--electrons 24 150]`.

Two electrons on three moiré cells, of 3x3, 6x6, 9x9 and 15x15 cells. *One depth*: at 30 meV from Gaussians on the
sites, to a gradient of 1e-5 Ha*, with the symmetries of the crystal and without; the two energies must agree. *Branch*:
all depths from 30 to 0 meV in steps of 5, as a run starts.
"""

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

from qernel.mean_field import crystal_branch, crystal_sites, crystal_start, crystal_symmetries, hartree_fock
from qernel.systems.moire import Material, moire_family

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--electrons", type=int, nargs="+", default=[6, 24, 54, 150])
arguments = parser.parse_args()


def timed(function: Callable, *inputs: Any, **options: Any):
    start = time.perf_counter()
    result = function(*inputs, **options)
    return result, time.perf_counter() - start


def row(electrons: int) -> str:
    cells = math.isqrt(3 * electrons // 2)
    if 2 * cells**2 != 3 * electrons:
        raise SystemExit(f"{electrons} electrons are not two on three of NxN moiré cells")
    family = moire_family(Material(), cells, (electrons, 0), [float(depth) for depth in range(0, 35, 5)])
    problem = family.hamiltonian, family.select(-1)
    sites, searching = timed(crystal_sites, *problem)
    symmetries = crystal_symmetries(problem[0], sites, problem[1])
    start = crystal_start(*problem, sites=sites)
    few, fast = timed(hartree_fock, *problem, start, tolerance=1e-5, symmetries=symmetries)
    everything, slow = timed(hartree_fock, *problem, start, tolerance=1e-5)
    if abs(few.energy - everything.energy) > 1e-7 * electrons:
        raise SystemExit(f"{electrons} electrons: {few.energy} with the symmetries, {everything.energy} without")
    _, branch = timed(crystal_branch, family, sites=sites)
    return f"{searching:6.2f} {len(symmetries):10d} {fast:9.2f} {slow:8.2f} {slow / fast:6.1f} {branch:7.2f}"


print(f"{'N':>4s} {'sites':>6s} {'symmetries':>10s} {'one depth':>9s} {'without':>8s} {'ratio':>6s} {'branch':>7s}")
for electrons in arguments.electrons:
    print(f"{electrons:4d} {row(electrons)}", flush=True)
