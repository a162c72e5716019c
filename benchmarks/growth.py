"""How the cost of a training step grows with the electrons: `python benchmarks/growth.py [--cells 6 9 12 15]`.

Filling 2/3 in n x n moiré cells, liquid and crystal at two depths, the default network with more waves in larger cells,
`--walkers` of each, one core. Seconds a step and a walker of its parts: the moves, the local energies (from random
directions; `--exact` for all coordinates), and the rest, scores and solve; medians over `--steps`. The last lines are
the exponents p of N^p from each size to the next, and from the first to the last.
"""

import argparse
import itertools
import math

import jax
from timing import one_core, timed

from qernel.ansatz import Ansatz
from qernel.compilation import compiled
from qernel.gradient import local_energies
from qernel.presets import build, load
from qernel.training import train_step
from qernel.training._step import sample_round

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cells", type=int, nargs="+", default=[6, 9, 12, 15], help="n of n x n")
parser.add_argument("--walkers", type=int, default=12)
parser.add_argument("--moves", type=int, default=3)
parser.add_argument("--colours", type=int, default=2)
parser.add_argument("--chunk", type=int, default=4)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--exact", action="store_true")
arguments = parser.parse_args()


def measure(cells: int) -> dict[str, float]:
    electrons = 2 * cells**2 // 3
    laplacian = "exact" if arguments.exact else "probed"
    config = load(
        "moire-6",
        [
            *(f"system.supercell={cells}", f"system.electrons=[{electrons}, 0]", "system.depths_meV=[8, 16]"),
            *("system.orbital_spacing_meV=8", "ansatz.references=['liquid', 'crystal']", "ansatz.phases=separate"),
            *(f"ansatz.feature_shells={cells // 2 + 1}", f"ansatz.pair_shells={cells + 1}"),
            *(f"sampling.walkers={arguments.walkers}", f"sampling.moves={arguments.moves}", "sampling.burn_in=2"),
            *(f"sampling.chunk={arguments.chunk}", f"training.chunk={arguments.chunk}", "training.score_chunk=4"),
            *(f"training.laplacian={laplacian}", f"training.colours={arguments.colours}"),
        ],
    )
    problem = build(config)
    state = problem.state()
    members, method = problem.members_of(state), problem.method
    family = state.in_phase(members)

    @compiled
    def energies(ansatz: Ansatz, r: jax.Array, key: jax.Array):
        parameters = family.parameters
        return local_energies(ansatz, family.hamiltonian, r, parameters, method.laplacian, arguments.chunk, key=key)

    walkers = state.positions.shape[0] * state.positions.shape[1]
    moves = timed(lambda: sample_round(state, members, method), repeats=arguments.steps).median
    energy = timed(energies, state.ansatz, state.positions, jax.random.key(0), repeats=arguments.steps).median
    step = timed(lambda: train_step(state, members, method), repeats=arguments.steps).median
    parts = {"moves": moves, "energies": energy, "rest": step - moves - energy, "step": step}
    print(f"{electrons:4d} " + " ".join(f"{1e3 * x / walkers:9.2f}" for x in parts.values()), flush=True)
    return {"electrons": electrons, **parts}


one_core()
with jax.enable_x64(True):
    print("milliseconds a walker\n   N     moves  energies      rest      step")
    found = [measure(cells) for cells in arguments.cells]
    spans = [*itertools.pairwise(found), *([(found[0], found[-1])] if len(found) > 2 else [])]
    for a, b in spans:
        names = ("moves", "energies", "step")
        powers = {n: math.log(b[n] / a[n]) / math.log(b["electrons"] / a["electrons"]) for n in names}
        text = "  ".join(f"{name} N^{power:.2f}" for name, power in powers.items())
        print(f"N {a['electrons']} to {b['electrons']}: {text}")
