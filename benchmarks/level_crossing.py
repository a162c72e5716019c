"""Where the exact six-electron levels cross: `python benchmarks/level_crossing.py [BANDS] [DEPTH ...]`.

Exact diagonalisation of six spin-polarised electrons on 3x3 moiré cells in the lowest Bloch bands (3: 33 000 states a
momentum sector; 4: 216 000; 5: 900 000). Prints, for the momenta X of the liquid and K of the crystal, the lowest
energy (meV per electron, an upper bound), the interaction energy and S(K), and the depth at which they cross by linear
interpolation.
"""

import sys
import time

import numpy as np

from qernel.exact import exact_diagonalisation
from qernel.lattice import supercell, triangular
from qernel.systems.moire import Material, moire_hamiltonian, moire_parameters

BANDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
DEPTHS = [float(x) for x in sys.argv[2:]] or [0, 5, 10, 14, 16, 18, 20, 30]
SECTORS = {"X": (0, 1), "K": (1, 2)}
N = 6

material = Material()
primitive = triangular(material.lattice_constant)
hamiltonian = moire_hamiltonian(material, supercell(primitive, 3), (N, 0))
cutoff = 3.2 * float(np.linalg.norm(primitive.reciprocal[0]))

print(f"{BANDS} bands; meV per electron, S at K")
print("depth " + " ".join(f"{'E_' + name:>10s} {'W_' + name:>10s} {'S_' + name:>7s}" for name in SECTORS) + "  seconds")
gaps = []
for depth in DEPTHS:
    start = time.perf_counter()
    states = [
        exact_diagonalisation(
            hamiltonian,
            moire_parameters(material, depth),
            bands=BANDS,
            momenta=[momentum],
            cutoff=cutoff,
            wave_vectors=[SECTORS["K"]],
        )
        for momentum in SECTORS.values()
    ]
    columns = [
        f"{material.to_meV(s.energy) / N:10.5f} {material.to_meV(s.energies['interaction']) / N:10.4f} "
        f"{s.structure_factor[0]:7.4f}"
        for s in states
    ]
    print(f"{depth:5.2f} " + " ".join(columns) + f"  {time.perf_counter() - start:7.1f}", flush=True)
    gaps.append(states[1].energy - states[0].energy)
for left, right, a, b in zip(DEPTHS, DEPTHS[1:], gaps, gaps[1:], strict=False):
    if a > 0 > b:
        print(f"K falls below X at {left + (right - left) * a / (a - b):.2f} meV")
