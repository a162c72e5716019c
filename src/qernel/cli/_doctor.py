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
    import numpy as np

    from qernel.check import check_laplacian
    from qernel.hamiltonian import Ewald
    from qernel.lattice import square
    from qernel.presets import build, preset

    for name, version in versions().items():
        console.print(f"{name:<18}{version}")
    devices = jax.devices()
    kinds = sorted({f"{d.platform} ({getattr(d, 'device_kind', '?')})" for d in devices})
    console.print(f"{'devices':<18}{len(devices)} x {', '.join(kinds)}")
    console.print(f"{'float64':<18}{_precision(jax, jnp)}")
    console.print(f"{'processors':<18}{os.cpu_count()}, NPROC={os.environ.get('NPROC', 'not set')}")
    if (os.cpu_count() or 1) <= 2 and "NPROC" not in os.environ:
        console.print(
            f"{'':<18}if a run hangs without using a processor, see whether NPROC=4 in the environment "
            "(a wider pool of threads for XLA) cures it, and report it",
            soft_wrap=True,
        )
    failures = []
    with jax.enable_x64(True):
        # -ξ/2 per electron of the square Wigner crystal is its Madelung energy; Bonsall and Maradudin 1977.
        madelung = float(Ewald(square(1.0)).madelung)
    good = abs(madelung + 3.90026492) < 1e-7
    console.print(f"{'Madelung constant':<18}{madelung:.8f} {_mark(good)} (square lattice: -3.90026492)")
    failures += [] if good else ["the Ewald sum"]
    tiny = preset(
        "moire-6",
        "electrons=[2,0]",
        "supercell=2",
        "system.depths_meV=[10]",
        "sampling.walkers=2",
        "layers=1",
        "width=8",
        "determinants=2",
        "references=['plane_waves']",
        "expert_width=8",
    )
    problem = build(tiny)
    check = check_laplacian(problem.ansatz, problem.family.parameters, problem.positions)
    text = f"forward against exact: {check.difference:.0e} {_mark(check.passed)}"
    console.print(f"{'Laplacian':<18}{text}")
    failures += [] if check.passed else ["the Laplacian"]
    finite = bool(np.isfinite(check.difference))
    if failures or not finite:
        raise RuntimeError(f"the self-check failed for {' and '.join(failures)}: do not trust results here")


def _precision(jax, jnp) -> str:
    with jax.enable_x64(True):
        enabled = jnp.zeros((), float).dtype == jnp.float64
    return "available" if enabled else "not available"


def _mark(good: bool) -> str:
    return "right" if good else "WRONG"


def replay(path: Path, console: Console) -> None:
    """Repeat the first failing step of a run that stopped with a fault, and say what is not finite."""
    import jax

    from qernel.run_directory import RunDirectory, checkpoint_steps, load_checkpoint
    from qernel.training import diagnose, largest_mesh, shard_family, shard_state, step_failed, train_step

    from ._commands import built, configuration_of
    from qernel.run_directory import in_recorded_phases

    directory = RunDirectory(path)
    config = configuration_of(directory, [])
    if not checkpoint_steps(directory.fault):
        console.print(f"{path} has no recorded fault")
        return
    problem = built(config, console, references=False)
    with jax.enable_x64(True):
        state = load_checkpoint(directory.fault, problem.state(), identity=config.identity())
        # The failing step may be the first one after phases have retired.
        problem = in_recorded_phases(problem, directory, int(state.step) + 1, int(state.step))
        # Placed as in the training, so that the same program runs.
        mesh = largest_mesh(problem.family.size, config.sampling.walkers)
        state, family = shard_state(state, mesh), shard_family(problem.family, mesh)
        _, report = train_step(state, family, problem.method)
    failed = step_failed(report, config.sampling.walkers)
    verb = "fails again" if failed else "does not fail this time"
    console.print(f"step {int(state.step) + 1} {verb}: {diagnose(state, family, problem.method)}")
