"""Experts and heads: `python benchmarks/experts.py [--experts 4 8 16 32] [--electrons 12]`.

Of the wavefunction of `step_time.py` (real determinants) on one core: a batched forward pass and all local energies.
First against the number of experts of width 64 routed by the condition, with the gate `spline` (three in use) and with
`softmax` (all); then against the number of key/value heads that four query heads share. Relative to the first line of
each, in one run.
"""

import argparse

import jax
from published_sizes import problem
from timing import forward_pass, one_core, timed

from qernel.ansatz import Ansatz
from qernel.compilation import compiled
from qernel.gradient import local_energies
from qernel.hamiltonian import Family

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--experts", type=int, nargs="+", default=[4, 8, 16, 32])
parser.add_argument("--electrons", type=int, default=12)
parser.add_argument("--walkers", type=int, default=64)
parser.add_argument("--repeats", type=int, default=5)
arguments = parser.parse_args()


def measure(*settings: str) -> list[float]:
    built = problem(arguments.electrons, walkers=arguments.walkers, real=True, others=settings)
    family = built.members

    @compiled
    def energies(ansatz: Ansatz, r: jax.Array, family: Family):
        return local_energies(ansatz, family.hamiltonian, r, family.parameters, None, 2).total

    inputs = built.ansatz, built.state().positions, family
    return [timed(function, *inputs, repeats=arguments.repeats).median for function in (forward_pass, energies)]


def table(cases: dict[str, tuple[str, ...]]) -> None:
    first = None
    for title, settings in cases.items():
        forward, energy = measure(*settings)
        first = first or (forward, energy)
        print(
            f"{title:24s} forward {forward * 1e3:7.1f} ms ({forward / first[0]:.2f})  "
            f"energy {energy * 1e3:7.1f} ms ({energy / first[1]:.2f})",
            flush=True,
        )


one_core()
with jax.enable_x64(True):
    print(f"{arguments.walkers} walkers, {arguments.electrons} electrons, one core, jax {jax.__version__}")
    for gate in ("spline", "softmax"):
        settings = ("ansatz.router=condition", "ansatz.expert_width=64", f"ansatz.gate={gate}")
        table({f"{gate}, {n} experts": (*settings, f"ansatz.experts={n}") for n in arguments.experts})
    table({f"{n} key/value heads of 4": (f"ansatz.key_value_heads={n}",) for n in (4, 2, 1)})
