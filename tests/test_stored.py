"""Runs that earlier versions wrote: each is opened, read and gone on with, for ever, and runs no code of its own.

`python tests/test_stored.py VERSION` writes the one of a version that is released.
"""

import json
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.evaluation import read_netcdf
from qernel.presets import load
from qernel.run_directory import checkpoint_steps, read_training
from qernel.runs import Run

STORED = Path(__file__).parent / "stored"
VERSIONS = sorted(path.name for path in STORED.iterdir())
POSITIONS = [[0.3, -0.2], [1.1, 0.4], [-0.7, 0.9]]


def values(run):
    """log|ψ| of one configuration at two points, of each phase."""
    r = jnp.asarray(POSITIONS)
    return [
        float(run.psi(r, omega_y=omega, kappa=0.1, phase=phase).log_magnitude)
        for omega in (1.5, 3.0)
        for phase in ("filling_2_1", "filling_3")
    ]


@pytest.fixture(params=VERSIONS)
def stored(request, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(STORED / request.param, path)
    return path


def test_it_is_read_as_it_was_written(stored):
    unpickled = []
    sys.addaudithook(lambda event, arguments: unpickled.append(arguments) if event == "pickle.find_class" else None)
    known = json.loads((stored / "known.json").read_text())
    run = Run.open(stored)
    assert run.step == known["step"] == checkpoint_steps(stored / "checkpoints")[-1]
    np.testing.assert_allclose(values(run), known["log_magnitude"], rtol=1e-9)
    assert load(stored / "config.toml").identity() == run.config.identity()
    table = read_netcdf(stored / "results.nc")
    np.testing.assert_array_equal(table["energy"].values.ravel(), np.array(known["energy"], float))
    assert read_training(stored / "metrics.csv").step.tolist() == list(range(1, known["step"] + 1))
    # Data, and nothing that names code to be run.
    assert unpickled == []


def test_it_goes_on(stored):
    run = Run.open(stored)
    (step,) = run.train(1)
    assert step.number == run.step and np.isfinite(step.energies).all()


def write(version):
    """Store a small run, as this version writes it."""
    from qernel.presets import preset

    sizes = "determinants=2 layers=1 width=8 head_size=4 query_heads=1 key_value_heads=1 experts=1 expert_width=8"
    overrides = [f"ansatz.{size}" for size in sizes.split()]
    overrides += ["system.omega_y=[1.5,3.0]", "system.kappa=[0.1,0.2]", "sampling.walkers=4", "training.steps=2"]
    overrides += ["training.precision=double", "training.checkpoint_every=1", "training.keep=2", "sampling.burn_in=2"]
    overrides += ["evaluation.walkers=4", "evaluation.rounds=4", "evaluation.burn_in=1"]
    overrides += ["evaluation.at.omega_y=[1.5,3.0]", "evaluation.at.kappa=[0.1]"]
    path = STORED / version
    run = Run.configured(preset("trap-3", *overrides), path)
    for _ in run.train():
        pass
    table = run.evaluate()
    for old in checkpoint_steps(path / "checkpoints")[:-1]:
        shutil.rmtree(path / "checkpoints" / str(old))
    known = {"step": run.step, "log_magnitude": values(run), "energy": table["energy"].values.ravel().tolist()}
    (path / "known.json").write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    write(sys.argv[1])
