"""Train variants of a wavefunction at equal budget and say which ingredients pay."""

import dataclasses
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from qernel.layers import trainable
from qernel.evaluation import read_netcdf, write_netcdf
from qernel.evaluation import known_values
from ._analysis import ablation_table, ablation_verdict
from qernel.presets import Config, ConfigurationError, DEFAULT_PRESET, build, load, to_toml
from qernel.run_directory import Problem
from qernel.run_directory import write_atomically
from qernel.training import TrainingState, burn_in, largest_mesh, train

from qernel.cli import default_directory
from qernel.run_directory import Interrupted
from qernel.run_directory import evaluate_in
from qernel.cli import TrainingProgress, clock
from qernel.run_directory import provenance
from qernel.run_directory import start

SEPARATE = "separate"


def variants(config: Config) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What each variant is, and the settings that make it of the full wavefunction."""
    a = config.ansatz
    # Any gate of one expert is 1; top_k and spline would ask for more experts than there are.
    one = ("ansatz.experts=1", "ansatz.gate='softmax'")
    active = {"top_k": a.top_k, "spline": 3}.get(a.gate, 1)
    return {
        "full": ("as configured", ()),
        "no-film": ("features not modulated by the depth", ("ansatz.film=false",)),
        "unconditioned": ("one wavefunction for all depths", ("ansatz.conditioned=false",)),
        "dense": (
            "one perceptron with all the experts' hidden units",
            (*one, f"ansatz.expert_width={a.experts * a.expert_width}"),
        ),
        "narrow": (
            f"one perceptron as wide as {active} of the {a.experts} experts",
            (*one, f"ansatz.expert_width={active * a.expert_width}"),
        ),
        "multi-head": ("keys and values for every query head", (f"ansatz.key_value_heads={a.query_heads}",)),
        SEPARATE: ("one wavefunction for each evaluated depth, trained there", ()),
        "liquid-only": ("no crystal orbitals", ("ansatz.references=['liquid']", "ansatz.start='both'")),
        "plane-waves": ("no reference but plane waves", ("ansatz.references=['plane_waves']", "ansatz.start='both'")),
    }


def chosen_variants(config: Config, only: Sequence[str]) -> list[str]:
    """The variants to train.

    **Raises:** `ConfigurationError` for an unknown one.
    """
    known = list(variants(config))
    for name in only:
        if name not in known:
            raise ConfigurationError(f"there is no variant '{name}': there are {', '.join(known)}")
    return [name for name in known if name in only] if only else known


def ablate(
    source: str | None,
    overrides: list[str],
    out: Path | None,
    seeds: int,
    only: Sequence[str],
    command: str,
    console: Console,
) -> None:
    """Train every variant with every seed that is not on disk yet, then compare them all."""
    name = source or DEFAULT_PRESET
    if load(name, overrides).ansatz.phases == "separate":
        # Variants without a phase have nothing that could compete.
        console.print("all variants hold their phases in one sum here (ansatz.phases = 'sum')")
        overrides = [*overrides, "ansatz.phases='sum'"]
    config = load(name, overrides)
    wanted = chosen_variants(config, only)
    folder = default_directory(f"ablation-{Path(name).stem}") if out is None else out
    _claim(folder, config, command)
    # Seed by seed: an unfinished ablation compares all variants, and a pair runs under the same load of the machine.
    pairs = [(variant, config.training.seed + i) for i in range(seeds) for variant in wanted]
    left = [pair for pair in pairs if not _path(folder, *pair).is_file()]
    console.print(f"{len(pairs)} runs, {len(pairs) - len(left)} of them finished before -> {folder}", soft_wrap=True)
    met: set[str] = set()
    try:
        for number, (variant, seed) in enumerate(left, 1):
            console.print(f"{variant}, seed {seed} ({number} of {len(left)})")
            settings = [*overrides, *variants(config)[variant][1], f"training.seed={seed}"]
            begun = time.monotonic()
            dataset = _measured(load(name, settings), variant == SEPARATE, variant not in met, console)
            met.add(variant)
            _path(folder, variant, seed).parent.mkdir(parents=True, exist_ok=True)
            write_netcdf(dataset, _path(folder, variant, seed))
            console.print(f"{variant}, seed {seed}: done in {clock(time.monotonic() - begun)}")
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped: finished runs are kept, continue with the same command and --out {folder}"
        ) from None
    finish(folder, config, console)


def finish(folder: Path, config: Config, console: Console) -> None:
    """Table, figure and verdict of all finished runs in a folder."""
    from qernel.plotting import save_figure
    from ._figure import ablation_figure

    dataset = collect(folder, config)
    rows = dataset.drop_vars("meaning").to_dataframe().reset_index()
    write_atomically(folder / "ablation.csv", rows.to_csv(index=False))
    write_netcdf(dataset, folder / "ablation.nc")
    console.print()
    console.print(ablation_table(dataset), markup=False, soft_wrap=True)
    console.print()
    for line in ablation_verdict(dataset):
        console.print(line, soft_wrap=True, markup=False)
    console.print()
    console.print(f"results: {folder / 'ablation.csv'}", soft_wrap=True)
    console.print(f"figure:  {save_figure(ablation_figure, dataset, folder / 'ablation.png')}", soft_wrap=True)


def collect(folder: Path, config: Config) -> Any:
    """All finished runs as one data set (variant, seed, depth); NaN where one is missing."""
    import xarray

    depths = np.asarray(config.evaluation.depths_meV)
    known_variants = variants(config)
    runs, tables = {}, {}
    for path in folder.glob("*/seed-*.nc"):
        run = read_netcdf(path)
        pair = path.parent.name, int(path.stem.removeprefix("seed-"))
        table = run[["energy", "energy_error"]].reset_coords(drop=True).assign_coords(depth=depths)
        tables[pair] = table.assign(seconds=run.attrs["seconds"], seconds_per_step=run.attrs["seconds_per_step"])
        runs[pair[0]] = run
    names = [name for name in known_variants if name in runs]
    seeds = sorted({seed for _, seed in tables})
    missing = next(iter(tables.values())) * np.nan
    of_seeds = [xarray.concat([tables.get((name, seed), missing) for seed in seeds], "seed") for name in names]
    dataset = xarray.concat(of_seeds, "variant").assign_coords(variant=names, seed=seeds)
    for key in ("parameters", "local_energies"):
        dataset[key] = ("variant", [int(runs[name].attrs[key]) for name in names])
    dataset = dataset.assign_coords(meaning=("variant", [known_variants[name][0] for name in names]))
    dataset["family_depth"] = ("depth", np.isin(depths, config.system.depths_meV).astype(np.int8))
    known = known_values(next(iter(runs.values())))
    exact = np.full(len(depths), np.nan) if known is None else known.exact_at(depths)[0]
    lowest = dataset["energy"].mean("seed").min("variant").values
    dataset["reference"] = ("depth", np.where(np.isfinite(exact), exact, lowest))
    dataset["reference_is_exact"] = ("depth", np.isfinite(exact).astype(np.int8))
    dataset["error"] = dataset["energy"] - dataset["reference"]
    dataset.attrs["units"] = "meV per electron"
    return dataset


def _path(folder: Path, variant: str, seed: int) -> Path:
    return folder / variant / f"seed-{seed}.nc"


def _claim(folder: Path, config: Config, command: str) -> None:
    """Make the folder and record what it compares; refuse one that compares something else."""
    path = folder / "config.toml"
    if path.is_file():
        old, new = (_settings(c) for c in (load(path), config))
        different = next((key for key in new if old[key] != new[key]), None)
        if different is not None:
            raise ValueError(
                f"{folder} holds an ablation with {different} = {old[different]}, not {new[different]}: "
                "choose another --out"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_toml(config, provenance(command)))


def _settings(config: Config) -> dict[str, Any]:
    plain = config.model_dump(mode="json", exclude={"provenance", "description"})
    return {f"{section}.{key}": value for section, values in plain.items() for key, value in values.items()}


def _measured(config: Config, separate: bool, first: bool, console: Console) -> Any:
    """One variant with one seed, trained and evaluated."""
    import xarray

    with warnings.catch_warnings():
        # The same open shell would be named for every variant and seed.
        warnings.simplefilter("ignore", UserWarning)
        problem = build(config)
    problems = [at_depth(problem, i) for i in range(len(config.evaluation.depths_meV))] if separate else [problem]
    parts, times = [], []
    for number, part in enumerate(problems):
        state, seconds = _trained(part, first and number == 0, console)
        depths = (config.evaluation.depths_meV[number],) if separate else None
        dataset = evaluate_in(part, state, console, depths)
        # The densities of all of them would be most of the disk.
        parts.append(dataset[[name for name in dataset if dataset[name].dims == ("depth",)]])
        times.append(seconds)
    dataset = xarray.concat(parts, "depth", combine_attrs="override")
    steps, walkers = config.training.steps, config.sampling.walkers
    trained = sum(part.family.size for part in problems)
    dataset.attrs.update(
        seconds=steps * sum(times),
        seconds_per_step=sum(times),
        parameters=len(problems) * _parameters(problem),
        local_energies=steps * walkers * trained,
    )
    return dataset


def at_depth(problem: Problem, index: int) -> Problem:
    """The same wavefunction, untrained, for one depth of the evaluation alone.

    Reference orbitals, network and budget at this depth are the family's, so that only the sharing differs; and
    since the depth is a traced number, all such problems run one compiled program.
    """
    config = problem.config
    depth = config.evaluation.depths_meV[index]
    nearest = int(np.argmin(np.abs(np.array(config.system.depths_meV) - depth)))
    return dataclasses.replace(
        problem,
        config=config.model_copy(update={"system": config.system.model_copy(update={"depths_meV": (depth,)})}),
        family=problem.family_at((depth,)),
        positions=problem.positions[nearest : nearest + 1],
        key=jax.random.fold_in(problem.key, index),
    )


def _trained(problem: Problem, first: bool, console: Console) -> tuple[TrainingState, float]:
    """The trained state and the seconds of a step, compilation apart."""
    config, family, method = problem.config, problem.family, problem.method
    mesh = largest_mesh(family.size, config.sampling.walkers)
    if first:
        # With its comparison of Laplacians, once for each kind of network.
        problem, state, check = start(problem, console)
        check.settle(wait=True)
        method = problem.method
    else:
        state = burn_in(problem.state(), family, method, config.sampling.burn_in, mesh=mesh)
    depths, scale = config.system.depths_meV, problem.material.hartree_meV / problem.electrons
    steps, times = config.training.steps, [time.perf_counter()]
    with TrainingProgress(console, depths, 0, steps) as progress:
        done = train(state, family, method, steps, mesh=mesh, patience=config.training.patience)
        for state, report in done:  # noqa: B007
            report = jax.device_get(report)
            times.append(time.perf_counter())
            progress.update(
                len(times) - 1,
                np.asarray(report.statistics.energy) * scale,
                report.acceptance,
                int(report.statistics.bad.sum()),
            )
    # The fastest tenth: the first step compiles, and other programs slow some of the others.
    return state, float(np.quantile(np.diff(times), 0.1))


def _parameters(problem: Problem) -> int:
    marked = jax.tree.map(lambda leaf, use: leaf.size if use else 0, problem.ansatz, trainable(problem.ansatz))
    return int(sum(jax.tree.leaves(marked)))
