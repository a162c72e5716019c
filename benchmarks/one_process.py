"""Thousands of writers, loads, openings and evaluations in one Python process: do files, threads, memory and time stay
flat?

`one_process.py [--times 2000]` trains the fermions of `soak.py` for a few steps, and then, so many times each: saves
a state with a writer of its own; loads the newest checkpoint; opens the run; evaluates it at two points. Prints, for
each kind, the open files, threads, memory and time of one after a tenth, half and all of them, and the ratios of the
end to the tenth.
"""

import argparse
import itertools
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from soak import SMALL

from qernel.cli import main as command
from qernel.run_directory import CheckpointWriter, load_checkpoint
from qernel.runs import Run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        few = ("training.steps=5", "evaluation.rounds=4", "evaluation.burn_in=1")
        try:
            command(["run", "trap-1d", *SMALL, *few, "--out", str(out)])
        except SystemExit as end:
            assert not end.code
        print("| kind, times | open files | threads | memory (MiB) | ms each |\n|---|---|---|---|---|")
        for kind, once in kinds(out, Path(folder)).items():
            measure(kind, once, times)


def kinds(out: Path, folder: Path) -> dict[str, Callable]:
    """The four, each a function that does it once."""
    run = Run.open(out)
    numbers = itertools.count()

    def write():
        with CheckpointWriter(folder / "written", keep=2) as writer:
            writer.save(next(numbers), run.state)

    def load():
        load_checkpoint(out / "checkpoints", run.state)

    def evaluate():
        run.evaluate({"kappa": [0.1, 0.3]}, into=folder / "evaluated" / str(next(numbers)))

    return {"a writer": write, "a load": load, "a run opened": lambda: Run.open(out), "an evaluation": evaluate}


def measure(kind: str, once: Callable, times: int) -> None:
    marks, seen = {times // 10, times // 2, times}, []
    begun = time.perf_counter()
    last = 0
    for number in range(1, times + 1):
        once()
        if number in marks:
            now = time.perf_counter()
            process = psutil.Process()
            memory = process.memory_info().rss / 2**20
            each = 1e3 * (now - begun) / (number - last)
            seen.append((process.num_fds(), threading.active_count(), memory, each))
            print(f"| {kind}, {number} | " + " | ".join(f"{value:.0f}" for value in seen[-1]) + " |", flush=True)
            begun, last = time.perf_counter(), number
    ratios = np.array(seen[-1]) / np.array(seen[0])
    print("| ratio | " + " | ".join(f"{ratio:.3f}" for ratio in ratios) + " |", flush=True)


if __name__ == "__main__":
    main()
