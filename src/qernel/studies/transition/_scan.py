"""Scan a trained wavefunction over its coordinates, closer where it changes."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float

from qernel.ansatz import CompetingPhases, Qernel, SlaterDeterminant
from qernel.evaluation import (
    doubts_of,
    ground_state,
    indexed,
    labelled_rows,
    lowest_phases,
    positions_on,
    rows_of,
    same_points,
    single_axis,
)
from qernel.hamiltonian import Family
from qernel.judgement import add_zero_variance, interaction_of, order_parameter, phase_boundaries, stretch_of
from qernel.observables import expert_usage, family_overlaps, fidelity_susceptibility, trial_overlaps
from qernel.run_directory import Problem, in_phase, measure_samples
from qernel.studies._callbacks import Progress, unmeasured
from qernel.training import TrainingRecord, TrainingState

if TYPE_CHECKING:
    import xarray

# Points that are measured at once: one compiled program for the whole scan.
BATCH = 4
# Samples of each walker that the overlaps use.
_RECORDS = 8
# A scan is refined so often at most: every time about halves the stretch.
_REFINEMENTS = 4

# Rows of a batch before they are labelled.
_ROW = "scanned"

Points = Float[np.ndarray, "points coordinates"]


class Scan:
    """Measurements of one trained wavefunction at growing numbers of points; with the `records` of its training, of
    each phase by name, energies at zero variance among them."""

    def __init__(
        self,
        problem: Problem,
        state: TrainingState,
        progress: Progress = unmeasured,
        records: Mapping[str, TrainingRecord] | None = None,
    ):
        self._problem, self._state = problem, state
        self._progress = progress
        self._records = records
        self._parts: list[Any] = []
        self._batches: list[Points] = []
        # A batch may vary fewer of them.
        self._varying = problem.system.family.varying
        self._samples: dict[tuple[float, ...], np.ndarray] = {}
        self._trials = _trial_states(problem, state)

    @property
    def points(self) -> Points:
        """All measured points, by increasing coordinates: the rows of the table."""
        return np.array(sorted(self._samples))

    @property
    def dataset(self) -> "xarray.Dataset":
        """The table of all points, in the order of `points`, labelled as one that was measured at once."""
        import xarray

        # The rows of a batch may lie on a line of the plane: their labels are made anew.
        bare = [_without_labels(part) for part in self._parts]
        whole: Any = xarray.concat(bare, _ROW, data_vars="minimal", coords="minimal", compat="override", join="outer")
        measured = np.concatenate([points for points in self._batches])
        family = self._problem.family_at(self.points)
        labels, attributes, rows = labelled_rows(family)
        whole = whole.isel({_ROW: np.lexsort(measured.T[::-1])}).rename({_ROW: rows}).assign_coords(labels)
        doubts = [line for part in self._parts for line in doubts_of(part)]
        whole.attrs = self._parts[0].attrs | attributes | {"doubts": "\n".join(doubts)}
        table = self._problem.system.at(family).label(indexed(whole))
        return add_zero_variance(table, self._records) if self._records else table

    def measure(self, points: Points) -> None:
        """Measure at these points, those measured before left out, in batches of one size."""
        missing = [tuple(p) for p in np.atleast_2d(points).tolist() if not self._known(p)]
        missing = list(dict.fromkeys(missing))
        # The last batch is filled up with points between, which do no harm: a smaller one would compile again.
        spare = self._between(missing)
        while len(missing) % BATCH:
            missing.append(next(spare))
        batches = np.reshape(sorted(missing), (-1, BATCH, np.shape(points)[-1]))
        for number, batch in enumerate(batches):
            text = f"measuring {len(missing)} points"
            self._measure_batch(
                batch,
                lambda done, total, n=number, t=text: self._progress(t, n * total + done, len(batches) * total),
            )

    def _phases(self, table: "xarray.Dataset") -> list[str]:
        """The lowest phase at every row, no name where there are none."""
        return lowest_phases(table) or [""] * table.sizes[rows_of(table)]

    def _known(self, point: Sequence[float]) -> bool:
        # Closer than elsewhere: a scan puts its points close together where the phase changes.
        return bool(self._samples) and bool(same_points(np.array([point]), self.points, 1e-9).any())

    def _between(self, missing: list[tuple[float, ...]]) -> Iterator[tuple[float, ...]]:
        """Points half way between two neighbours: of one coordinate in the widest gap."""
        trained = self._problem.system.family.points
        known, span = sorted({*self._samples, *missing, *map(tuple, trained.tolist())}), np.ptp(trained, axis=0)
        while True:
            gaps = [np.linalg.norm(np.subtract(b, a)) for a, b in zip(known, known[1:], strict=False)]
            if not gaps or max(gaps) == 0:
                raise ValueError("a scan needs a range of points")
            widest = int(np.argmax(gaps))
            middle = tuple(rounded(np.add(known[widest], known[widest + 1])[None] / 2, span)[0].tolist())
            known.insert(widest + 1, middle)
            if not self._known(middle) and middle not in missing:
                yield middle

    def _measure_batch(self, points: Points, progress: Callable[[int, int], None]) -> None:
        dataset, evaluations = measure_samples(
            self._problem, self._state, points, stream=1 + len(self._parts), progress=progress
        )
        names = self._phases(dataset)
        of_phase = {name: (rows.tolist(), evaluation.samples) for name, (rows, evaluation) in evaluations.items()}
        chosen = []
        for row, name in enumerate(names):
            rows, samples = of_phase[name]
            assert samples is not None
            chosen.append(samples[rows.index(row)])
        samples = np.stack(chosen)
        with jax.enable_x64(True):
            family = in_phase(self._problem, self._problem.family_at(points), names)
            self._add_fidelities(dataset, family, samples)
        self._parts.append(dataset)
        self._batches.append(points)
        thinned = samples[:, :, :: max(1, samples.shape[2] // _RECORDS)]
        self._samples.update(zip(map(tuple, points.tolist()), thinned, strict=True))

    def _add_fidelities(self, dataset: Any, family: Family, samples: np.ndarray) -> None:
        """Add the columns that only a conditioned wavefunction gives."""
        ansatz, rows = self._state.averaged, rows_of(dataset)
        for axis in self._varying:
            with _said_in_the_table():
                chi = fidelity_susceptibility(ansatz, family, samples, axis)
            name = "fidelity_susceptibility" + ("" if len(self._varying) == 1 else f"_{axis.name}")
            unit = "1" if axis.unit == "1" else f"1/{axis.unit}^2"
            _add(dataset, rows, name, chi.value, chi.error, f"Var(d log psi / d {axis.symbol})", unit)
        if isinstance(ansatz, Qernel | CompetingPhases):
            with _said_in_the_table():
                usage = expert_usage(ansatz, family, samples)
            _add(dataset, rows, "expert_usage", usage.value, usage.error, "mean gate of each expert")
        for name, trial in self._trials.items():
            with _said_in_the_table():
                found = trial_overlaps(ansatz, family, samples, trial)
            text = f"overlap |<phi|psi>|^2 with one determinant of {name} orbitals"
            _add(dataset, rows, f"fidelity_{name}", found.value, found.error, text)
            dataset[f"fidelity_{name}_effective_samples"] = (rows, found.effective_samples, {"units": "1"})

    def refine(self, resolution: float) -> None:
        """Measure where the phase changes: along one coordinate until half of the change lies within `resolution` or
        gets no shorter; in a plane once, along the line between two phases."""
        if single_axis(self.dataset) is None:
            points = self._problem.system.family.points
            for boundary in phase_boundaries(self.dataset):
                chosen = boundary.points[np.linspace(0, len(boundary.points) - 1, 2 * BATCH).round().astype(int)]
                clipped = np.clip(chosen, points.min(axis=0), points.max(axis=0))
                self.measure(rounded(clipped, np.ptp(points, axis=0)))
            return
        width = math.inf
        for _ in range(_REFINEMENTS):
            low, high = self._fastest()
            if high - low <= resolution or high - low > 0.8 * width:
                return
            width = high - low
            between = np.repeat(self.points[:1], BATCH, axis=0)
            between[:, self._column] = np.linspace(low, high, BATCH + 2)[1:-1]
            self.measure(rounded(between, np.ptp(self._problem.system.family.points, axis=0)))

    @property
    def _column(self) -> int:
        """Which of the coordinates the single one is that varies."""
        return self._problem.system.family.coordinates.index(self._varying[0])

    def _fastest(self) -> tuple[float, float]:
        """The stretch over which order parameter or interaction jump, or else around the largest susceptibility."""
        rows = ground_state(self.dataset)
        axis = single_axis(rows)
        assert axis is not None
        x = positions_on(rows, axis)
        for name in (order_parameter(rows), interaction_of(rows)):
            stretch = None if name is None else stretch_of(rows, name)
            if stretch is not None and stretch.is_jump:
                return stretch.low, stretch.high
        chi = rows["fidelity_susceptibility"].values
        first = int(np.argmax(chi[1:] + chi[:-1]))
        return float(x[first]), float(x[first + 1])

    def overlaps(self) -> "xarray.Dataset":
        """The scan, of one coordinate with the fidelities between all of its rows."""
        rows = self.dataset
        axis = single_axis(rows)
        if axis is None:
            return rows
        points = self.points
        samples = np.stack([self._samples[tuple(point)] for point in points.tolist()])
        self._progress("overlaps between all points", 0, 1)
        with jax.enable_x64(True), _said_in_the_table():
            family = in_phase(self._problem, self._problem.family_at(points), self._phases(rows))
            found = family_overlaps(self._state.averaged, family, samples)
        dimension = rows_of(rows)
        axes = (dimension, f"other_{dimension}")
        rows[f"other_{axis.name}"] = (f"other_{dimension}", positions_on(rows, axis), {"units": axis.unit})
        text = f"|<psi({axis.symbol})|psi({axis.symbol}')>|^2"
        rows["fidelity"] = (axes, found.value, {"units": "1", "long_name": text})
        rows["fidelity_error"] = (axes, found.error, {"units": "1"})
        rows["fidelity_effective_samples"] = (axes, found.effective_samples, {"units": "1"})
        return rows


@contextlib.contextmanager
def _said_in_the_table() -> Iterator[None]:
    """No warnings of errors that are NaN, of fewer than eight walkers, nor of effective samples, which stand beside."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(an error bar needs|effective samples)")
        yield


def rounded(points: Points, span: Float[np.ndarray, " coordinates"]) -> Points:
    """Points without digits beyond a millionth of the range of each coordinate, but six at least: rows are called by
    them. What does not vary stays as it is."""
    digits = [max(6, 6 - math.floor(math.log10(size))) if size > 0 else None for size in span]
    columns = [x if n is None else np.round(x, n) for x, n in zip(points.T, digits, strict=True)]
    return np.stack(columns, axis=1)


def _without_labels(part: Any) -> Any:
    """A table whose rows have no coordinates, without what belongs to all of them."""
    rows = rows_of(part)
    labels = [name for name, label in part.coords.items() if label.dims == (rows,)]
    known = [name for name in part.variables if {"known", "known_line", "boundary"} & set(part[name].dims)]
    return part.drop_vars([*labels, *known]).rename_dims({rows: _ROW})


def _add(dataset: Any, rows: str, name: str, value: np.ndarray, error: np.ndarray, text: str, units: str = "1") -> None:
    axes = (rows, "layer", "expert")[: value.ndim]
    dataset[name] = (axes, value, {"units": units, "long_name": text})
    dataset[f"{name}_error"] = (axes, error, {"units": units})


def _trial_states(problem: Problem, state: TrainingState) -> dict[str, SlaterDeterminant]:
    """One determinant of each of the sets of orbitals that the wavefunction starts from."""
    network = state.ansatz.network if isinstance(state.ansatz, CompetingPhases) else state.ansatz
    if not isinstance(network, Qernel) or len(problem.references) != len(network.references):
        return {}
    electrons = problem.system.family.hamiltonian.electrons
    sets = zip(problem.references, network.references, strict=True)
    return {name: SlaterDeterminant(reference.module, electrons) for name, reference in sets}
