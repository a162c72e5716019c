"""The problem of the timing benchmarks: the sizes of the published program for this model."""

from collections.abc import Sequence

from qernel.presets import Config, build, preset
from qernel.run_directory import Problem

CELLS = {6: "3", 12: "[6, 3]", 24: "6", 54: "9", 96: "12", 150: "15"}


def configuration(
    electrons: int, *, walkers: int, real: bool, chunk: int = 0, precision: str = "mixed", others: Sequence[str] = ()
) -> Config:
    """4 layers of width 64, 4 query heads of 16 on 2 key/value heads, 4 experts, 4 determinants; one depth, 15 meV."""
    overrides = [
        f"system.supercell={CELLS[electrons]}",
        f"system.electrons=[{electrons}, 0]",
        "system.depths_meV=[15]",
        "ansatz.width=64",
        "ansatz.layers=4",
        "ansatz.query_heads=4",
        "ansatz.head_size=16",
        "ansatz.expert_width=16",
        "ansatz.determinants=4",
        f"ansatz.complex={'false' if real else 'true'}",
        f"sampling.walkers={walkers}",
        'sampling.kernel="random_walk"',
        "sampling.moves=10",
        f"training.chunk={chunk}",
        f'training.precision="{precision}"',
        "evaluation.at.depth_meV=[15]",
    ]
    return preset("moire-6-sum", *overrides, *others)


def problem(
    electrons: int, *, walkers: int, real: bool, chunk: int = 0, precision: str = "mixed", others: Sequence[str] = ()
) -> Problem:
    """What that `configuration` describes."""
    return build(configuration(electrons, walkers=walkers, real=real, chunk=chunk, precision=precision, others=others))
