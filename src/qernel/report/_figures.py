"""The figures of a run with captions that say what is seen and how the errors were made."""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qernel.evaluation import KnownValues, known_at_rows, known_values, order_parameters_of, potentials_of, with_error
from qernel.judgement import interaction_of, known_places, order_jump, order_parameter, phase_boundaries
from qernel.plotting import scalar_observables

from ._record import Record
from ._system import term_words

# What a figure is about, which is the section that it belongs to.
SECTIONS = {
    "training": ("training",),
    "energies": ("energy", "interaction", "slope"),
    "correlations": (
        "order",
        "observables",
        "density",
        "structure_factor",
        "pair_correlation",
        "pair_distances",
        "momentum_distribution",
        "profiles",
        "maps",
    ),
}
_MEANS = "Error bars are one standard error of the mean, corrected for autocorrelation, where larger than the symbols."
_WALKERS = "Error bars are one standard error from the spread of the independent walkers."
_PIXELS_PER_INCH = 180 / 96


@dataclass(frozen=True)
class Figure:
    """An image as a `data:` address, its size on the page in CSS pixels, a caption and a description in words."""

    name: str
    source: str
    width: int
    height: int
    caption: str
    alt: str


def figures(record: Record, folder: Path) -> dict[str, Figure]:
    """The PNG files of a folder by name, captioned."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        content = path.read_bytes()
        # The header of a PNG: a signature, then the chunk that begins with width and height.
        width, height = (round(n / _PIXELS_PER_INCH) for n in struct.unpack(">II", content[16:24]))
        source = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
        caption, alt = _texts(path.stem, record)
        found[path.stem] = Figure(path.stem, source, width, height, caption, alt)
    return found


def _texts(name: str, record: Record) -> tuple[str, str]:
    """Caption and alternative text of a figure."""
    writers = {
        "energy": _energy,
        "interaction": _interaction,
        "order": _order,
        "observables": _observables,
        "training": _training,
        "density": _density,
        "structure_factor": _structure_factor,
        "slope": _slope,
        "transition": _transition,
    }
    if name in writers:
        return writers[name](record)
    maps = f"for several values of {record.symbols}"
    fixed = {
        "pair_correlation": (
            f"Pair correlation function {maps}. Bands are one standard error from the spread of independent walkers; "
            "a grey line is 1.",
            f"Curves of the pair correlation function against distance {maps}.",
        ),
        "pair_distances": (
            f"Distribution of the distances of pairs, normalised to one, {maps}. Bands are one standard error from the "
            "spread of independent walkers.",
            f"Curves of the distribution of pair distances {maps}.",
        ),
        "momentum_distribution": (
            f"Momentum distribution {maps}: dots for single wave vectors, symbols for the mean over those of equal "
            "length. Error bars are the mean of the members' standard errors, an upper bound to that of their mean.",
            f"Momentum distribution against wave number {maps}.",
        ),
        "profiles": (
            f"Observables along an axis of their own, {maps}. Bands are one standard error from the spread of "
            "independent walkers.",
            f"Curves of observables {maps}.",
        ),
        "maps": (
            f"Observables over two axes of their own, {maps}. Where a single bin is mostly noise, bins are merged.",
            f"Maps of observables {maps}.",
        ),
    }
    plain = name.replace("_", " ").capitalize()
    return fixed.get(name, (f"{plain}.", f"Figure {plain.lower()}."))


def _against(record: Record) -> str:
    """`against the trap frequency`, or what a figure shows of several coordinates."""
    labels = [axis.label for axis in record.axes]
    if not labels:
        return "of the Hamiltonian"
    return f"against the {labels[0]}" if len(labels) == 1 else f"over {_and([f'the {label}' for label in labels])}"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _layout(record: Record) -> str:
    """How a figure of several coordinates is to be read, with the lines in it."""
    if len(record.axes) < 2:
        return ""
    if len(record.axes) > 2:
        others = _and([axis.symbol for axis in record.axes[1:]])
        return f" Points against {record.axes[0].symbol}, in a colour for each value of {others}; they are not joined."
    known = known_values(record.dataset)
    text = " Colours: the values at the measured points, whose largest standard error is in the title of each panel."
    if known is not None and known.boundaries:
        text += f" Dashed: where the exact ground state changes its phase ({known.method})."
    if phase_boundaries(record.dataset):
        text += " Purple: where the measured energies of two phases are equal."
    return text


def _ends(record: Record, name: str) -> str:
    """`goes from -44.5 to -92.5` with the unit along one coordinate, `lies between` of several."""
    values = record.lowest[name].values[record.order]
    values = values[np.isfinite(values)]
    unit = record.lowest[name].attrs.get("units", "1").removeprefix("1")
    if len(record.axes) == 1:
        return f"goes from {values[0]:.4g} to {values[-1]:.4g} {unit}".rstrip()
    return f"lies between {values.min():.4g} and {values.max():.4g} {unit}".rstrip()


def _shaded(record: Record) -> str:
    """What is shaded or marked along one coordinate."""
    name = order_parameter(record.lowest)
    if len(record.axes) != 1:
        return ""
    text = ""
    jump = order_jump(record.dataset)
    if name is not None and jump is not None:
        symbol = record.lowest[name].attrs.get("symbol", name)
        what = "jumps" if jump.steps == 1 else "makes half of its change"
        text += f" Shaded: the interval in which {symbol} {what}."
    known = known_values(record.dataset)
    if known is not None and known.boundaries:
        places = known_places(record.lowest)
        listed = _and([with_error(place, error) for place, error in places]) if places else ""
        text += " Dashed: where the exact ground state changes its phase"
        text += f", {record.axes[0].symbol} = {listed}{record.axes[0].suffix}." if listed else "."
    return text


def _squares(known: KnownValues | None) -> str:
    if known is None or not known.has_exact:
        return ""
    levels = "; ".join(branch.words for branch in known.branches)
    return f" Open squares: {known.method}" + (f", each phase in its colour ({levels})." if levels else ".")


def _energy(record: Record) -> tuple[str, str]:
    known = known_values(record.dataset)
    references = {name: bool(np.isfinite(known_at_rows(record.lowest, name)).any()) for name in ("exact", "mean_field")}
    relative = []
    if known is not None and references["mean_field"]:
        relative.append(f"relative to {known.mean_field_method}, that is minus the correlation energy found")
    if known is not None and references["exact"]:
        relative.append(f"relative to the exact value ({known.method})")
    parts = []
    if record.phases:
        parts.append(
            "how far each phase lies above the lowest one" if len(record.axes) < 2 else "how far the phases lie apart"
        )
    if relative:
        parts.append(f"the energy {', and '.join(relative)}, for the rows where this is known")
    if len(record.axes) > 1:
        caption = f"Energy and its terms {_against(record)}{f'; {_and(parts)}' if parts else ''}.{_layout(record)}"
    else:
        lower = f" Lower panel{'s' if bool(record.phases) + len(relative) > 1 else ''}: {'; '.join(parts)}."
        lower = lower if parts else ""
        caption = f"Energy and its terms {_against(record)}.{_shaded(record)} {_MEANS}{_squares(known)}{lower}"
    terms = _and(["total", "kinetic", *(term_words(record, name) for name in potentials_of(record.dataset))])
    return caption, f"Energies ({terms}) {_against(record)}; the total {_ends(record, 'energy')}."


def _interaction(record: Record) -> tuple[str, str]:
    name = interaction_of(record.dataset) or "energy"
    words = term_words(record, name).removesuffix(" energy").capitalize()
    known = known_values(record.dataset)
    squares = f"{_squares(known)} {known.remark}".rstrip() if known is not None and name in known.terms else ""
    caption = f"{words} energy {_against(record)}.{_shaded(record)}{squares} {_MEANS}{_layout(record)}"
    return caption, f"{words} energy {_against(record)}; it {_ends(record, name)}."


def _order(record: Record) -> tuple[str, str]:
    dataset = record.lowest
    names = [name for name in order_parameters_of(dataset) if np.isfinite(dataset[name].values).any()]
    parts = [
        f"{dataset[n].attrs.get('symbol', n)}: {dataset[n].attrs.get('long_name', n.replace('_', ' '))}" for n in names
    ]
    if len(record.axes) == 2 and (record.phases or names):
        parts.insert(0, "phase of the ground state")
    caption = f"Order {_against(record)}. {'; '.join(parts)}.".replace(". p", ". P", 1)
    if len(record.axes) > 1:
        caption += _layout(record)
    else:
        rings = [
            str(dataset[n].attrs.get("what", "")) for n in names if dataset[n].attrs.get("signature", "") in dataset
        ]
        caption += _shaded(record) + "".join(f" Rings: {what}." for what in rings if what)
        caption += f" Dashed curves: every phase where it was measured. {_WALKERS}" if record.phases else f" {_WALKERS}"
    ends = f"; {dataset[names[0]].attrs.get('symbol', names[0])} {_ends(record, names[0])}" if names else ""
    return caption, f"Order {_against(record)}{ends}."


def _observables(record: Record) -> tuple[str, str]:
    names = scalar_observables(record.lowest)
    words = _and(
        [str(record.lowest[name].attrs.get("long_name", name.replace("_", " "))) for name in names] or ["none"]
    )
    caption = f"Further observables {_against(record)}.{_shaded(record)} {_WALKERS}{_layout(record)}"
    return caption, f"Observables {_against(record)}: {words}."


def _density(record: Record) -> tuple[str, str]:
    maps = f"for several values of {record.symbols}"
    caption = f"Density of the electrons in the frozen wavefunction {maps}: a histogram of all electrons of all walkers"
    if "supercell" not in record.dataset:
        dim = record.dataset["density"].ndim - 1 - bool(record.phases) if "density" in record.dataset else 2
        along = ", integrated along z" if dim == 3 else ""
        noise = (
            "bands are one standard error" if dim == 1 else "bins are merged where a single one would be mostly noise"
        )
        return f"{caption}{along}; {noise}.", f"The electron density {maps}."
    if record.lowest["density"].ndim == 2:
        return f"{caption}, not symmetrised; bands are one standard error.", f"Curves of the electron density {maps}."
    caption += ", not symmetrised, with bins merged two by two where a single one would be mostly noise. "
    if "primitive_lattice" in record.dataset:
        caption += "White outlines: primitive cells; "
    caption += "dashed: the periodic cell."
    return caption.replace(". dashed", ". Dashed"), f"Maps of the electron density over the periodic cell {maps}."


def _structure_factor(record: Record) -> tuple[str, str]:
    maps = f"for several values of {record.symbols}"
    if record.dataset["wave_vector"].shape[1] != 2:
        caption = (
            f"Static structure factor S(q) against |q| {maps}: dots for single wave vectors, symbols for means over"
        )
        return f"{caption} shells.", f"Structure factor against wave number {maps}."
    caption = f"S(q) {maps}, one tile for each wave vector of the periodic cell; q = 0 is left out (grey)"
    caption += ", and a white line is the first Brillouin zone." if "primitive_lattice" in record.dataset else "."
    return caption, f"Maps of the static structure factor {maps}."


def _slope(record: Record) -> tuple[str, str]:
    if len(record.axes) == 1:
        s = record.axes[0].symbol
        known = known_values(record.dataset)
        exact = known is not None and bool(known.branches)
        squares = " Open squares: exact, each phase in its colour, between neighbouring known values." if exact else ""
        caption = (
            f"Hellmann-Feynman check. Above: ⟨∂H/∂{s}⟩ measured at each value, and the slope of the energies "
            f"between neighbours. Below: their difference; the band is what the interpolation may miss."
            f"{squares} {_MEANS}"
        )
        return caption, f"Slope of the energy against {s} from two independent estimates, and their difference."
    caption = (
        "Hellmann-Feynman check along every line of points on which a single coordinate differs, in a colour for each "
        "line. Above: slopes measured at each point (circles), and those of the energies between neighbours (crosses). "
        f"Below: their difference, with an error that holds what the interpolation may miss. {_MEANS}"
    )
    return caption, f"Slopes of the energy along {record.symbols} from two independent estimates, and their difference."


def _transition(record: Record) -> tuple[str, str]:
    name = order_parameter(record.lowest)
    order = "" if name is None else f"{record.lowest[name].attrs.get('symbol', name)}, "
    caption = (
        f"Evidence of a transition against {record.symbols}: {order}energies of the wavefunction of this page and of "
        "its phases, slopes, fidelity susceptibility, overlaps between the wavefunctions at different points and with "
        "trial states, and use of the experts, as far as each was measured. Shaded: the transition and its "
        "uncertainty, if there is one. Error bars are one standard error."
    )
    return caption, f"Panels of evidence for or against a transition along {record.symbols}."


def _training(record: Record) -> tuple[str, str]:
    caption = (
        "Training at several points: energy relative to the evaluated one where every trained point was evaluated, to "
        "its late mean otherwise; variance of the local energy; acceptance; and size of the update. Thick lines are "
        "rolling means over a fortieth of the steps, thin ones single steps. The energies average over wavefunctions "
        "that still change: they show whether the training has settled, and are no results."
    )
    steps = f" over {len(record.training.step)} steps" if record.training is not None else ""
    return caption, f"Energy, variance, acceptance and update{steps} of the training."
