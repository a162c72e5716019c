"""What a GPU would run, without one: `python benchmarks/gpu_programs.py [PRESET ...]`.

Compiles the programs of a training step for the GPU that `gpu_target_h200.txtpb` describes, on a machine that has none:
kernel launches of a step (those in loops as often as they run), temporary memory, and calls of libraries by name. Needs
JAX's plugin for CUDA of the same version as JAX, from `'.[cuda]'` or in a folder of `--plugin`, and no driver. Compiled
without tuning: the launches are those of an H200, their times are not in question here. Options of a preset follow it
after a colon: `moire-24:training.chunk=auto`.
"""

import argparse
import os
import re
import sys
import time
import unittest.mock
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

TARGET = Path(__file__).with_name("gpu_target_h200.txtpb")
OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
# Instructions of a compiled program that start no kernel.
FREE = set("parameter constant tuple get-tuple-element bitcast after-all opt-barrier add-dependency".split())


class Program(NamedTuple):
    """A compiled program: its launches, the temporary memory in bytes, and how often it calls what by name."""

    launches: int
    memory: int
    calls: Counter[str]


def prepare(plugin: str | None = None) -> None:
    """Let JAX compile for CUDA where there is none; to be called before JAX is imported."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    if plugin is not None:
        sys.path.append(plugin)


def device() -> Any:
    """The device that is not there. Raises what JAX raises without the plugin."""
    from jax.experimental import topologies

    found = topologies.get_topology_desc(platform="cuda", topology="1x1x1", target_config=TARGET.read_text("utf-8"))
    return found.devices[0]


def compile_for(target: Any, function: Any, *arguments: Any) -> Program:
    """Compile a function of pytrees, whose arrays may be anything that has a shape, for a device."""
    import equinox as eqx
    import jax

    arrays, static = eqx.partition(arguments, lambda x: eqx.is_array(x) or isinstance(x, jax.ShapeDtypeStruct))
    sharding = jax.sharding.SingleDeviceSharding(target)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arrays)

    def of_arrays(arrays: Any) -> Any:
        return eqx.filter(function(*eqx.combine(arrays, static)), eqx.is_array)

    program = jax.jit(of_arrays).lower(shapes).compile(compiler_options=OPTIONS)
    text, memory = program.as_text(), program.memory_analysis()
    assert text is not None and memory is not None
    launches, calls = count(text)
    return Program(launches, memory.temp_size_in_bytes, calls)


def count(text: str) -> tuple[int, Counter[str]]:
    """Launches of a compiled program, and its calls of libraries by name."""
    bodies: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if head:
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif " = " in line and name:
            bodies[name].append(line.strip())

    calls: Counter[str] = Counter()

    def of(computation: str, times: int) -> int:
        total = 0
        for line in bodies[computation]:
            operation = re.search(r"(?:\)|\]|\}|[a-z0-9]\[\]) ([a-z][\w\-]*)\(", line.split(" = ", 1)[1])
            kind = operation[1] if operation else "?"
            if kind == "while":
                trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                turns = int(trips[1]) if trips else 1
                body, test = (re.search(rf"{part}=%?([\w.\-]+)", line) for part in ("body", "condition"))
                assert body and test
                total += turns * of(body[1], times * turns) + (turns + 1) * of(test[1], 0)
            elif kind == "conditional":
                branches = re.search(r"branch_computations=\{([^}]*)\}", line)
                names = (
                    branches[1].replace("%", "").split(", ")
                    if branches
                    else re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", line)
                )
                total += max(of(one, times) for one in names)
            elif kind in ("call", "async-start") and (called := re.search(r"(?:to_apply|calls)=%?([\w.\-]+)", line)):
                total += of(called[1], times)
            elif kind == "custom-call":
                target = re.search(r'custom_call_target="([^"]*)"', line)
                calls[target[1] if target else "?"] += times
                total += 1
            elif kind not in FREE and not kind.endswith("-done"):
                total += 1
        return total

    return of(entry, 1), calls


def _plain(program: Any) -> Any:
    """The function behind a compiled one."""
    return program.__wrapped__


def programs(preset: str, target: Any) -> dict[str, Program]:
    """The programs of one training step of a preset, by what they do."""
    import jax

    from qernel.presets import build, load
    from qernel.sampling import sampling_round
    from qernel.training._step import _of_moves, measure_and_update

    name, *options = preset.split(":")
    # Blocks and precisions follow the device.
    with jax.enable_x64(True), unittest.mock.patch("jax.default_backend", return_value="gpu"):
        problem = build(load(name, options), solve=False)
        state = problem.state(solved=False)
        family, method = problem.members_of(state), problem.method
        lost = jax.ShapeDtypeStruct(state.positions.shape[:2], bool)
        return {
            "moves": compile_for(target, _plain(sampling_round), *_of_moves(state, family, method)),
            "energies and update": compile_for(target, _plain(measure_and_update), state, lost, family, method),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=["moire-6", "moire-24"])
    parser.add_argument("--plugin", help="folder of the plugin, if it is not installed beside JAX")
    arguments = parser.parse_args()
    prepare(arguments.plugin)
    target = device()
    print(f"{'':40s} {'launches':>9s} {'MiB':>9s} {'compiled in':>12s}")
    for preset in arguments.presets:
        start = time.perf_counter()
        found = programs(preset, target)
        for what, program in found.items():
            print(f"{preset + ', ' + what:40s} {program.launches:9d} {program.memory / 2**20:9.0f}")
            calls = ", ".join(f"{number} {name}" for name, number in sorted(program.calls.items()))
            print(f"{'':8s}{calls or 'no calls'}")
        total = sum(program.launches for program in found.values())
        print(f"{preset + ', a step':40s} {total:9d} {'':9s} {time.perf_counter() - start:10.0f} s", flush=True)
