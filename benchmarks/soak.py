"""Ten thousand steps: do files, threads, memory and the time of a step stay flat, also when the run is killed?

`soak.py [--steps 10000] [--kills 0] [--every 25] [--files 200] [--seed 0]` trains four fermions in a one-dimensional
trap, whose energy is known, as `qernel run` does, in a process of its own. With `--kills` it is killed at random
moments and gone on with by `qernel resume`. `--files` is the limit of open files that the process gets. Prints, for
each tenth of the steps, the open files, threads and memory of the process and its steps a second; then the ratios of
the last tenth to the second (the first warms up), the number of kills, the steps whose rows are missing or doubled, and
the error of the measured energy.
"""

import argparse
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from qernel.evaluation import known_at_rows, read_netcdf

SMALL = (
    "system.kappa=[0.1,0.3]",
    "ansatz.layers=1",
    "ansatz.width=8",
    "ansatz.head_size=4",
    "ansatz.query_heads=2",
    "ansatz.key_value_heads=1",
    "ansatz.experts=1",
    "ansatz.expert_width=8",
    "sampling.walkers=32",
    "sampling.moves=2",
    "evaluation.at.kappa=[0.1,0.2,0.3]",
)


def main():
    options = arguments()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        kills = sorted(chance.sample(range(options.steps // 20, options.steps), options.kills))
        samples = []
        process = start(options, out)
        while process.poll() is None:
            time.sleep(0.25)
            step = last_step(out)
            if step:
                samples.append((step, *usage(process)))
            if kills and step >= kills[0]:
                kills.pop(0)
                time.sleep(chance.uniform(0, 0.5))
                process.kill()
                process.wait()
                process = start(options, out, resume=True)
        if process.returncode:
            sys.exit(f"the run ended with {process.returncode}")
        table(np.array([s for s in samples if s[1]]), options)
        report(out, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("steps", 10_000), ("kills", 0), ("every", 25), ("files", 200), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def start(options: argparse.Namespace, out: Path, resume: bool = False) -> subprocess.Popen:
    settings = (*SMALL, f"training.steps={options.steps}", f"training.checkpoint_every={options.every}")
    what = ["resume", str(out)] if resume else ["run", "trap-1d", *settings, "--out", str(out)]
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (options.files, options.files))
    return subprocess.Popen([sys.executable, "-m", "qernel", *what], stdout=subprocess.DEVNULL, preexec_fn=limit)


def last_step(out: Path) -> int:
    """The step of the last whole row of the metrics, 0 before the first."""
    try:
        with open(out / "metrics.csv", "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 2000))
            return int(file.read().decode().rsplit("\n", 2)[-2].split(",")[0])
    except (OSError, ValueError, IndexError):
        return 0


def usage(process: subprocess.Popen) -> tuple[float, float, float, float]:
    try:
        watched = psutil.Process(process.pid)
        return watched.num_fds(), watched.num_threads(), watched.memory_info().rss / 2**20, time.monotonic()
    except psutil.Error:
        return 0, 0, 0, 0


def table(samples: np.ndarray, options: argparse.Namespace) -> None:
    print("| steps | open files | threads | memory (MiB) | steps a second |\n|---|---|---|---|---|")
    tenths = []
    for tenth in range(10):
        low, high = tenth * options.steps / 10, (tenth + 1) * options.steps / 10
        part = samples[(samples[:, 0] > low) & (samples[:, 0] <= high) & (samples[:, 0] < options.steps)]
        if len(part) < 2:
            continue
        # Of a run that is killed, only what one process did between two looks at it counts.
        forward = np.diff(part[:, 0]) >= 0
        rate = np.diff(part[:, 0])[forward].sum() / max(np.diff(part[:, 4])[forward].sum(), 1e-9)
        tenths.append((part[:, 1].max(), part[:, 2].max(), np.median(part[:, 3]), rate))
        print(f"| {low:.0f} to {high:.0f} | " + " | ".join(f"{value:.0f}" for value in tenths[-1]) + " |")
    if len(tenths) > 2:
        ratios = np.array(tenths[-1]) / np.array(tenths[1])
        print("| last / second tenth | " + " | ".join(f"{ratio:.3f}" for ratio in ratios) + " |")


def report(out: Path, options: argparse.Namespace) -> None:
    with open(out / "metrics.csv") as file:
        rows = Counter(int(row["step"]) for row in csv.DictReader(file))
    members = max(rows.values())
    wrong = sum(rows.get(step, 0) != members for step in range(1, options.steps + 1))
    print(f"\nkills: {options.kills}; steps with a missing or doubled row: {wrong} of {options.steps}")
    results = read_netcdf(out / "results.nc")
    error = results["energy"].values - known_at_rows(results, "exact")
    worst = int(np.argmax(np.abs(error)))
    bar = results["energy_error"].values[worst]
    print(f"energy less the exact one per electron, at the worst point: {error[worst]:.1e} ({bar:.0e})")


if __name__ == "__main__":
    main()
