"""What the table of metrics and the look at a training's health cost, as a share of its steps.

`health.py [--steps 60] [PRESET [KEY=VALUE ...]]` trains a preset (moire-6 by default) in a temporary directory, and
prints the times of the steps, of writing their rows and of looking at their health, after the first ten.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from typing import Any

from qernel.presets import build, load
from qernel.run_directory import Health, MetricsWriter, RunDirectory, start, train_in

FIRST = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("preset", nargs="?", default="moire-6")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    problem = build(load(options.preset, (*options.overrides, f"training.steps={options.steps}")))
    spent = defaultdict(list)
    timed(MetricsWriter, "write", spent)
    timed(Health, "look", spent)
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(folder)
        directory.create("")
        problem, state, check = start(problem)
        for step in train_in(directory, problem, state, options.steps, check):
            spent["step"].append(step.report.seconds)
    steps = sum(spent["step"][FIRST:])
    print("| part | ms a step | share of the step |\n|---|---|---|")
    for name, seconds in spent.items():
        total = sum(seconds[FIRST:])
        print(f"| {name} | {1e3 * total / len(seconds[FIRST:]):.2f} | {total / steps:.2%} |")


def timed(of: type, name: str, spent: dict[str, list[float]]) -> None:
    """Note the time of every call of a method."""
    method = getattr(of, name)

    def noting(*arguments: Any):
        begun = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            spent[name].append(time.perf_counter() - begun)

    setattr(of, name, noting)


if __name__ == "__main__":
    main()
