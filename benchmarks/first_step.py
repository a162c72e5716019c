"""Seconds from the command to the first training step: `python benchmarks/first_step.py [PRESET ...]`.

Each is the command line in a process of its own: first with an empty cache of compiled programs, then with the one
that this has filled. Options of a preset follow it after a colon: `moire-6:optimiser.name=kfac`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("presets", nargs="*", default=["moire-6", "moire-6:optimiser.name=kfac"])
arguments = parser.parse_args()


def first_step(preset: str, directory: Path, cache: Path) -> float:
    """Until the metrics of the first step are on disk; the run is then ended."""
    name, *options = preset.split(":")
    command = [sys.executable, "-m", "qernel", "run", name, *options, "--out", str(directory)]
    start = time.monotonic()
    process = subprocess.Popen([*command, "--compilation-cache", str(cache)], stdout=subprocess.DEVNULL)
    metrics = directory / "metrics.csv"
    try:
        while not metrics.exists() or len(metrics.read_text().splitlines()) < 2:
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended before its first step")
            time.sleep(0.05)
        return time.monotonic() - start
    finally:
        process.kill()
        process.wait()


print(f"{'':32s} {'cold':>6s} {'cached':>7s} {'ratio':>6s}")
for preset in arguments.presets:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        cold, cached = (first_step(preset, path / run, path / "cache") for run in ("cold", "cached"))
    print(f"{preset:32s} {cold:6.1f} {cached:7.1f} {cold / cached:6.1f}", flush=True)
