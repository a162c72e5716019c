"""A full step must not hang: batched LAPACK calls that do not depend on each other can deadlock XLA on few cores."""

import subprocess
import sys

import pytest

PROGRAM = """
import jax
from qernel.presets import build, preset
from qernel.training import burn_in, train

problem = build(preset("moire-6", "system.depths_meV=[0, 10, 30]", "sampling.walkers=128",
                       "complex={is_complex}", "width=8",
                       "layers=1", "ansatz.references=['liquid']", "reference_spacing_meV=15.0"))
state = burn_in(problem.state(), problem.family, problem.method, 3)
for state, report in train(state, problem.family, problem.method, 60):
    jax.block_until_ready(report)
print("steps", int(state.step))
"""


@pytest.mark.parametrize("is_complex", ["false", "true"])
def test_sixty_full_steps_in_a_plain_process_end(is_complex):
    """Two cores, default environment, a watchdog."""
    program = PROGRAM.format(is_complex=is_complex)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert "steps 6" in found.stdout
