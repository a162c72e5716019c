"""What trains best, and why: `python benchmarks/ansatz_choices.py [--steps 200] [--seconds S] [--only NAME ...]`.

Trains variants of the `moire-6-sum` wavefunction in one run and prints, for each, the error against exact
diagonalisation (meV per electron, at depths of which 5, 10 and 20 meV are not trained), its time, and S(K) at depths on
both sides of the transition. The reference energies and their source stand in tests/reference. Every variant gets the
same number of steps; `--seconds` stops one earlier, for a comparison at equal time.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from qernel.evaluation import evaluate, results
from qernel.presets import build, preset
from qernel.sampling import Sampler
from qernel.training import burn_in, train

VARIANTS = {
    "default": (),
    "complex": ("ansatz.complex=true",),
    "liquid start": ("ansatz.start='liquid'",),
    "crystal start": ("ansatz.start='crystal'",),
    "liquid orbitals only": ("ansatz.references=['liquid']",),
    "crystal orbitals only": ("ansatz.references=['crystal']",),
    "plane waves only": ("ansatz.references=['plane_waves']", "ansatz.start='both'"),
    "one expert": ("ansatz.experts=1", "ansatz.expert_width=128"),
    "sparse experts": ("ansatz.gate='squared_relu'",),
    "kfac": ("optimiser.name='kfac'",),
    "adam": ("optimiser.name='adam'",),
}


def reference():
    path = Path(__file__).parent.parent / "tests" / "reference" / "moire_exact.json"
    cases = json.loads(path.read_text())["cases"]
    return {case["depth_meV"]: case["estimate"] for case in cases if case["electrons"] == 6}


def run(name: str, overrides: list[str], arguments: argparse.Namespace, exact: dict[float, float]) -> None:
    problem = build(preset("moire-6-sum", f"training.seed={arguments.seed}", *overrides))
    state = burn_in(problem.state(), problem.members, problem.method, 30)
    start, steps = 0.0, 0
    for state, report in train(state, problem.members, problem.method, arguments.steps):
        jax.block_until_ready(report)
        steps += 1
        # The first step compiles.
        start = start or time.perf_counter()
        if arguments.seconds and time.perf_counter() - start > arguments.seconds:
            break
    seconds = time.perf_counter() - start
    depths = sorted({*exact, *arguments.order_at})
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        family = problem.family_at(np.array(depths)[:, None])
        nearest = problem.nearest(state, family.points)
        table = results(
            evaluate(
                state.averaged,
                family,
                jnp.asarray(np.asarray(state.positions)[nearest]),
                sampler=Sampler(moves=20, cell=problem.method.sampler.cell),
                key=jax.random.key(arguments.seed + 1),
                step_size=jnp.asarray(np.asarray(state.step_size)[nearest]),
                burn_in=30,
                rounds=arguments.rounds,
                observables=[parameter.observable for parameter in problem.system.order_parameters],
                chunk=16,
            ),
            family,
            problem.system.units,
        )
    energies, bars = table["energy"].values, table["energy_error"].values
    errors = [energies[i] - exact[d] for i, d in enumerate(depths) if d in exact]
    order = table["structure_factor_K"].values
    print(
        f"{name:22s} {steps:5d} {seconds / max(steps - 1, 1):7.2f} "
        + " ".join(f"{error:+7.3f}" for error in errors)
        + f" {np.mean(errors):+8.3f} {bars.max():6.3f} "
        + " ".join(f"{order[depths.index(depth)]:6.2f}" for depth in arguments.order_at),
        flush=True,
    )


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--rounds", type=int, default=40)
parser.add_argument("--seconds", type=float)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--order-at", type=float, nargs="+", default=[10.0, 14.0, 20.0], help="depths of S(K), in meV")
parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of all variants")
parser.add_argument("--only", nargs="+", choices=sorted(VARIANTS), default=list(VARIANTS))
given = parser.parse_args()
warnings.simplefilter("ignore", UserWarning)
known = reference()
print(f"seed {given.seed}; {' '.join(given.set) or 'defaults'}")
print("energy minus exact, meV per electron; S(K) at the depths named")
heads = " ".join(f"{depth:7g}" for depth in sorted(known))
print(
    f"{'variant':22s} steps  s/step {heads}     mean    bar  "
    + " ".join(f"S({depth:g})".rjust(6) for depth in given.order_at)
)
for variant in given.only:
    run(variant, [*given.set, *VARIANTS[variant]], given, known)
