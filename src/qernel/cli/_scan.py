"""Scan a trained wavefunction along the depth, closer where it changes."""

import math
import warnings
from typing import Any

import jax
import numpy as np
from rich.console import Console

from qernel.ansatz import CompetingPhases, Qernel, SlaterDeterminant
from qernel.hamiltonian import Family
from qernel.mean_field import crystal_sites
from qernel.observables import expert_usage, family_overlaps, fidelity_susceptibility, steepest_stretch, trial_overlaps
from qernel.presets import Problem, reference_orbitals
from qernel.training import TrainingState

from ._evaluation import evaluation_progress, measure_at, phases_of

# Depths that are measured at once: one compiled program for the whole scan.
BATCH = 4
# Samples of each walker that the overlaps use.
_RECORDS = 8


class Scan:
    """Measurements at growing numbers of depths."""

    def __init__(self, problem: Problem, state: TrainingState, console: Console):
        self._problem, self._state, self._console = problem, state, console
        self._parts: list[Any] = []
        self._samples: dict[float, np.ndarray] = {}
        self._trials = _trial_states(problem, state)

    @property
    def dataset(self) -> Any:
        """All rows by increasing depth."""
        import xarray

        attributes = dict(self._parts[0].attrs)
        doubts = [line for part in self._parts for line in str(part.attrs["doubts"]).splitlines() if line]
        whole = xarray.concat(self._parts, "depth", data_vars="minimal", coords="minimal", compat="override")
        whole.attrs = attributes | {"doubts": "\n".join(doubts)}
        return whole.sortby("depth_meV")

    def measure(self, depths_meV: list[float]) -> None:
        """Measure at these depths, those measured before left out, in batches of one size."""
        missing = [depth for depth in depths_meV if not any(abs(depth - d) < 1e-9 for d in self._samples)]
        # The last batch is filled up with depths between, which do no harm: a smaller one would compile again.
        spare = iter(self._between(missing))
        while len(missing) % BATCH:
            missing.append(next(spare))
        batches = np.reshape(sorted(missing), (-1, BATCH)).tolist()
        with evaluation_progress(self._console) as bar:
            task = bar.add_task(f"measuring {len(missing)} depths", total=None)
            for number, batch in enumerate(batches):
                self._measure_batch(
                    tuple(batch),
                    lambda done, total, n=number: bar.update(
                        task, completed=n * total + done, total=len(batches) * total
                    ),
                )

    def _between(self, missing: list[float]):
        known = sorted({*self._samples, *missing, *self._problem.config.system.depth_range})
        while True:
            gap = int(np.argmax(np.diff(known)))
            middle = round((known[gap] + known[gap + 1]) / 2, 4)
            known.insert(gap + 1, middle)
            yield middle

    def _measure_batch(self, depths: tuple[float, ...], progress) -> None:
        evaluation, dataset = measure_at(
            self._problem, self._state, depths, stream=1 + len(self._parts), progress=progress
        )
        samples = evaluation.samples
        assert samples is not None
        with jax.enable_x64(True):
            family = self._problem.family_at(depths, phases_of(self._problem, dataset))
            self._add_fidelities(dataset, family, samples)
        self._parts.append(dataset)
        thinned = samples[:, :, :: max(1, samples.shape[2] // _RECORDS)]
        self._samples.update(zip(depths, thinned, strict=True))

    def _add_fidelities(self, dataset: Any, family: Family, samples: np.ndarray) -> None:
        """The columns that only a conditioned wavefunction gives."""
        ansatz, unit = self._state.ansatz, self._problem.material.hartree_meV
        with warnings.catch_warnings():
            # Errors of fewer than eight walkers are NaN, which says it in the table.
            warnings.filterwarnings("ignore", "an error bar needs")
            chi = fidelity_susceptibility(ansatz, family, samples)
            usage = expert_usage(ansatz, family, samples) if isinstance(ansatz, Qernel | CompetingPhases) else None
        text = "Var(d log psi / d V0)"
        _add(dataset, "fidelity_susceptibility", chi.value / unit**2, chi.error / unit**2, text, "1/meV^2")
        if usage is not None:
            _add(dataset, "expert_usage", usage.value, usage.error, "mean gate of each expert")
        for name, trial in self._trials.items():
            with warnings.catch_warnings():
                # Said by the effective samples beside.
                warnings.simplefilter("ignore", UserWarning)
                found = trial_overlaps(ansatz, family, samples, trial)
            text = f"overlap |<phi|psi>|^2 with one determinant of {name} orbitals"
            _add(dataset, f"fidelity_{name}", found.value, found.error, text)
            dataset[f"fidelity_{name}_effective_samples"] = ("depth", found.effective_samples, {"units": "1"})

    def refine(self, resolution_meV: float) -> None:
        """Measure where the phase changes, until half of the change lies within `resolution_meV` or gets no shorter."""
        width = math.inf
        for _ in range(4):
            low, high = self._fastest()
            if high - low <= resolution_meV or high - low > 0.8 * width:
                return
            width = high - low
            self.measure(np.round(np.linspace(low, high, BATCH + 2)[1:-1], 4).tolist())

    def _fastest(self) -> tuple[float, float]:
        """Where S(K) or the interaction jumps, or else around the largest susceptibility."""
        rows = self.dataset
        x = rows["depth_meV"].values
        for name in ("structure_factor_K", "interaction"):
            stretch = steepest_stretch(x, rows[name].values, rows[f"{name}_error"].values)
            if stretch is not None and stretch.is_jump:
                return stretch.low, stretch.high
        chi = rows["fidelity_susceptibility"].values
        first = int(np.argmax(chi[1:] + chi[:-1]))
        return float(x[first]), float(x[first + 1])

    def overlaps(self) -> Any:
        """The scan with the fidelities between all of its rows."""
        rows = self.dataset
        depths = tuple(rows["depth_meV"].values.tolist())
        samples = np.stack([self._samples[depth] for depth in depths])
        with jax.enable_x64(True), self._console.status("overlaps between all depths"), warnings.catch_warnings():
            # Said by the effective samples beside.
            warnings.simplefilter("ignore", UserWarning)
            family = self._problem.family_at(depths, phases_of(self._problem, rows))
            found = family_overlaps(self._state.ansatz, family, samples)
        axes = ("depth", "other_depth")
        rows["other_depth_meV"] = ("other_depth", rows["depth_meV"].values, {"units": "meV"})
        rows["fidelity"] = (axes, found.value, {"units": "1", "long_name": "|<psi(V0)|psi(V0')>|^2"})
        rows["fidelity_error"] = (axes, found.error, {"units": "1"})
        rows["fidelity_effective_samples"] = (axes, found.effective_samples, {"units": "1"})
        return rows


def _add(dataset: Any, name: str, value: np.ndarray, error: np.ndarray, text: str, units: str = "1") -> None:
    axes = ("depth", "layer", "expert")[: value.ndim]
    dataset[name] = (axes, value, {"units": units, "long_name": text})
    dataset[f"{name}_error"] = (axes, error, {"units": units})


def _trial_states(problem: Problem, state: TrainingState) -> dict[str, SlaterDeterminant]:
    """One determinant of each of the model's sets of reference orbitals, and of Gaussians on the crystal's sites."""
    network = state.ansatz.network if isinstance(state.ansatz, CompetingPhases) else state.ansatz
    if not isinstance(network, Qernel):
        return {}
    config = problem.config
    names = config.ansatz.references
    states = dict(zip(names, (reference.module for reference in network.references), strict=True))
    if "gaussians" not in states:
        with jax.enable_x64(True):
            sites = crystal_sites(problem.family.hamiltonian, problem.family.select(-1))
            states["gaussians"] = reference_orbitals("gaussians", config, problem.material, sites)
    return {name: SlaterDeterminant(orbitals, config.system.electrons) for name, orbitals in states.items()}
