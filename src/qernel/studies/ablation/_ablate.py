"""Train variants of a wavefunction at equal budget and say which ingredients pay."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qernel.evaluation import write_netcdf
from qernel.presets import DEFAULT_PRESET, Config, load, to_toml
from qernel.run_directory import Interrupted, Say, nothing_said, provenance, write_atomically
from qernel.studies._callbacks import Each, Progress, unmeasured, unwatched

from ._collect import Ablation, compare_variants, path_of
from ._measured import measured
from ._variants import chosen_variants, variants


def ablate(
    source: Config | str | Path = DEFAULT_PRESET,
    only: Sequence[str] = (),
    *,
    out: str | os.PathLike,
    seeds: int = 3,
    overrides: Sequence[str] = (),
    command: str = "",
    say: Say = nothing_said,
    each: Each = unwatched,
    progress: Progress = unmeasured,
) -> Ablation:
    """Train every variant with every seed that is not on disk yet, then compare them all.

    **Arguments:**

    - `source`: a preset, a file or a configuration, with `overrides` as on the command line.
    - `only`: names of the [`variants`][qernel.studies.ablation.variants] to train, by default all.
    - `out`: a folder; every finished run is kept in it, so that an unfinished ablation goes on when it is called again.
    - `seeds`: how many independent runs of each variant.
    - `command`: for the record; `say` hears what is going on, `each(problem, step)` every step of a training, and
      `progress(text, done, total)` how far a measurement is.

    **Raises:** `ValueError` for an unknown variant, no seeds or no steps, or a folder that compares something else;
    `Interrupted` after Ctrl-C.
    """
    if seeds < 1:
        raise ValueError(f"an ablation needs at least one seed, got {seeds}")
    if load(source, overrides).ansatz.phases == "separate":
        # Variants without a phase have nothing that could compete.
        say("all variants hold their phases in one sum here (ansatz.phases = 'sum')")
        overrides = [*overrides, "ansatz.phases='sum'"]
    config = load(source, overrides)
    if config.training.steps < 1:
        raise ValueError("an ablation compares what training reaches: training.steps must be at least 1, got 0")
    known = variants(config)
    wanted = chosen_variants(known, only)
    folder = Path(out)
    _claim(folder, config, command)
    # Seed by seed: an unfinished ablation compares all variants, and a pair runs under the same load of the machine.
    pairs = [(variant, config.training.seed + i) for i in range(seeds) for variant in wanted]
    left = [pair for pair in pairs if not path_of(folder, *pair).is_file()]
    say(f"{len(pairs)} runs, {len(pairs) - len(left)} of them finished before -> {folder}")
    met: set[str] = set()
    try:
        for number, (name, seed) in enumerate(left, 1):
            say(f"{name}, seed {seed} ({number} of {len(left)})")
            variant, begun = known[name], time.monotonic()
            one = load(source, [*overrides, *variant.settings, f"training.seed={seed}"])
            dataset = measured(one, variant.separate, name not in met, say, each, progress)
            met.add(name)
            path_of(folder, name, seed).parent.mkdir(parents=True, exist_ok=True)
            write_netcdf(dataset, path_of(folder, name, seed))
            say(f"{name}, seed {seed}: done in {time.monotonic() - begun:.0f} s")
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped: finished runs are kept, continue with the same command and --out {folder}"
        ) from None
    return compare_variants(folder, config)


def _claim(folder: Path, config: Config, command: str) -> None:
    """Make the folder and record what it compares; refuse one that compares something else."""
    path = folder / "config.toml"
    if path.is_file():
        old, new = (_settings(c) for c in (load(path), config))
        different = next((key for key in {**old, **new} if old.get(key) != new.get(key)), None)
        if different is not None:
            raise ValueError(
                f"{folder} holds an ablation with {different} = {old.get(different)}, not {new.get(different)}: "
                "choose another --out"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_toml(config, provenance(command, config.identity())))


def _settings(config: Config) -> dict[str, Any]:
    plain = config.model_dump(mode="json", exclude={"provenance", "description"})
    return {f"{section}.{key}": value for section, values in plain.items() for key, value in values.items()}
