"""What the directory of a run says that a script made: no configuration describes the script's own objects."""

import tomllib
from typing import Any

import numpy as np
import tomli_w

from qernel.presets import configuration_text
from qernel.run_directory import Problem, RunDirectory, Settings

_SECTION = "made_by_a_script"


def script_text(problem: Problem, provenance: dict[str, Any]) -> str:
    """The text of `config.toml` of a run that a script began: what it was, and what it needs to be opened again."""
    family = problem.system.family
    method = problem.method
    table = {
        _SECTION: {
            "system": problem.system.name,
            "electrons": list(family.hamiltonian.electrons),
            "coordinates": [coordinate.name for coordinate in family.coordinates],
            "points": family.points.tolist(),
            **({} if problem.points is None else {"measured_points": problem.points.tolist()}),
            "ansatz": _name(problem.ansatz),
            "optimiser": _name(method.optimiser),
            "open_with": "Run.open(path, system, ansatz, method), with the objects that the script made",
        },
        "settings": {key: value for key, value in vars(problem.settings).items() if value is not None},
        "provenance": provenance,
    }
    return tomli_w.dumps(table)


def is_script(directory: RunDirectory) -> bool:
    """Whether a script made the run that lives in a directory."""
    if not directory.exists:
        return False
    try:
        return _SECTION in tomllib.loads(configuration_text(directory.config))
    # Of what is no TOML `load` says what is wrong with it.
    except (ValueError, RecursionError):
        return False


def recorded(directory: RunDirectory) -> tuple[Settings, list[list[float]] | None]:
    """The settings of a script's run, and where its evaluation measures; None: at the trained points.

    **Raises:** `ValueError` if the record was edited into something else.
    """
    table = tomllib.loads(configuration_text(directory.config))
    try:
        return Settings(**table["settings"]), table[_SECTION].get("measured_points")
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{directory.config} does not hold the settings that a script's run records: {error}"
        ) from None


def how_to_open(directory: RunDirectory) -> str:
    """The sentence for a run that only its script can open."""
    made = tomllib.loads(configuration_text(directory.config))[_SECTION]
    return (
        f"{directory.path} was made by a script (system {made['system']}, ansatz {made['ansatz']}): open it there with "
        f"Run.open('{directory.path}', system, ansatz, method)"
    )


def script_identity(problem: Problem) -> dict[str, Any]:
    """By what checkpoints of another script are told: names, electrons and points, beside the shapes of all arrays."""
    family = problem.system.family
    return {
        "system": problem.system.name,
        "electrons": list(family.hamiltonian.electrons),
        "points": np.round(family.points, 9).tolist(),
        "ansatz": _name(problem.ansatz),
        "optimiser": _name(problem.method.optimiser),
    }


def _name(module: Any) -> str:
    return type(module).__name__
