"""Is this machine fit to run, and what went wrong in a run that stopped."""

import os
from pathlib import Path

from rich.console import Console

from qernel.run_directory import versions


def check_machine(console: Console) -> None:
    """Versions, devices, threads, and two small calculations whose answers are known.

    **Raises:** `RuntimeError` if one of them comes out wrong.
    """
    import jax
    import jax.numpy as jnp

    from qernel.check import check_laplacian
    from qernel.hamiltonian import Ewald
    from qernel.lattice import square
    from qernel.presets import DEFAULT_PRESET, build, preset

    for name, version in versions().items():
        console.print(f"{name:<18}{version}")
    devices = jax.devices()
    kinds = sorted({f"{device.platform} ({device.device_kind})" for device in devices})
    console.print(f"{'devices':<18}{len(devices)} x {', '.join(kinds)}")
    with jax.enable_x64(True):
        wide = jnp.zeros((), float).dtype == jnp.float64
        # -ξ/2 per electron of a square lattice of charges is its Madelung energy; Bonsall and Maradudin 1977.
        madelung = float(Ewald(square(1.0)).madelung)
    console.print(f"{'float64':<18}{'available' if wide else 'not available'}")
    console.print(f"{'processors':<18}{os.cpu_count()}, NPROC={os.environ.get('NPROC', 'not set')}")
    if (os.cpu_count() or 1) <= 2 and "NPROC" not in os.environ:
        console.print(
            f"{'':<18}if a run hangs without using a processor, see whether NPROC=4 in the environment "
            "(a wider pool of threads for XLA) cures it, and report it"
        )
    right = {"the Ewald sum": abs(madelung + 3.90026492) < 1e-7}
    mark = lambda name: "right" if right[name] else "WRONG"
    console.print(f"{'Madelung constant':<18}{madelung:.8f} {mark('the Ewald sum')} (square lattice: -3.90026492)")
    small = ("sampling.walkers=2", "layers=1", "width=8", "expert_width=8", "head_size=4")
    problem = build(preset(DEFAULT_PRESET, *small), solve=False)
    members = problem.members
    # Orbitals that are not zero: the walkers' own waves are enough for a comparison of derivatives.
    check = check_laplacian(problem.ansatz, members.parameters, problem.state(solved=False).positions)
    right["the Laplacian"] = check.passed or check.difference != check.difference
    console.print(f"{'Laplacian':<18}forward against exact: {check.difference:.0e} {mark('the Laplacian')}")
    failures = [name for name, good in right.items() if not good]
    if failures:
        raise RuntimeError(f"the self-check failed for {' and '.join(failures)}: do not trust results here")


def replay(path: Path, console: Console) -> None:
    """Repeat the first failing step of a run that stopped with a fault, and say what is not finite."""
    from qernel.runs import Run

    found = Run.open(path).replay_fault()
    console.print(found or f"{path} has no recorded fault")
