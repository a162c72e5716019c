"""Scan a trained wavefunction along the depth, closer where it changes."""

import math
import warnings
from typing import Any

import jax
import numpy as np
from rich.console import Console

from qernel.ansatz import Qernel
from qernel.observables import expert_usage, family_overlaps, fidelity_susceptibility, steepest_stretch
from qernel.presets import Problem
from qernel.training import TrainingState

from ._evaluation import evaluation_progress, measure_at

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
        ansatz, unit = self._state.ansatz, self._problem.material.hartree_meV
        with jax.enable_x64(True):
            family = self._problem.family_at(depths)
            chi, error = fidelity_susceptibility(ansatz, family, samples)
            attributes = {"units": "1/meV^2", "long_name": "fidelity susceptibility Var(d log psi / d V0)"}
            dataset["fidelity_susceptibility"] = ("depth", chi / unit**2, attributes)
            dataset["fidelity_susceptibility_error"] = ("depth", error / unit**2, {"units": "1/meV^2"})
            if isinstance(ansatz, Qernel):
                usage, error = expert_usage(ansatz, family, samples)
                axes = ("depth", "layer", "expert")
                dataset["expert_usage"] = (axes, usage, {"units": "1", "long_name": "mean gate of each expert"})
                dataset["expert_usage_error"] = (axes, error, {"units": "1"})
        self._parts.append(dataset)
        thinned = samples[:, :, :: max(1, samples.shape[2] // _RECORDS)]
        self._samples.update(zip(depths, thinned, strict=True))

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
            found = family_overlaps(self._state.ansatz, self._problem.family_at(depths), samples)
        axes = ("depth", "other_depth")
        rows["other_depth_meV"] = ("other_depth", rows["depth_meV"].values, {"units": "meV"})
        rows["fidelity"] = (axes, found.value, {"units": "1", "long_name": "|<psi(V0)|psi(V0')>|^2"})
        rows["fidelity_error"] = (axes, found.error, {"units": "1"})
        rows["fidelity_effective_samples"] = (axes, found.effective_samples, {"units": "1"})
        return rows
