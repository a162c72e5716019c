"""The figures of a run with captions that say what is seen and how the errors were made."""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qernel.judgement import transition
from qernel.evaluation import known_values

from ._axis import Axis, axis_of
from ._record import Record

# What a figure is about, which is the section that it belongs to.
SECTIONS = {
    "training": ("training",),
    "energies": ("energy", "interaction", "slope"),
    "correlations": ("density", "structure_factor", "pair_correlation", "momentum_distribution"),
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
    axis = axis_of(record.dataset)
    if name == "energy":
        return _energy(record, axis)
    if name == "interaction":
        return _interaction(record, axis)
    if name == "training":
        return _training(record)
    if name == "structure_factor":
        return _structure_factor(record, axis)
    maps = "for several values of " + axis.symbol
    fixed = {
        "density": (
            f"Charge density of the frozen wavefunction {maps}: a histogram of all electrons of all walkers, not "
            "symmetrised, with bins merged two by two where a single one would be mostly noise. White outlines: moiré "
            "cells, where there are any; dashed: the periodic cell.",
            f"Maps of the electron density over the periodic cell {maps}.",
        ),
        "slope": (
            f"Hellmann-Feynman check. Above: ⟨∂H/∂{axis.symbol}⟩ measured at each value, and the slope of the energies "
            f"between neighbours. Below: their difference; the band is what the interpolation may miss. {_MEANS}",
            f"Slope of the energy against {axis.symbol} from two independent estimates, and their difference.",
        ),
        "pair_correlation": (
            f"Pair correlation function {maps}. Bands are one standard error from the spread of independent walkers; "
            "a grey line is 1.",
            f"Curves of the pair correlation function against distance {maps}.",
        ),
        "momentum_distribution": (
            f"Momentum distribution {maps}: dots for single wave vectors, symbols for the mean over those of equal "
            "length. Error bars are the mean of the members' standard errors, an upper bound to that of their mean.",
            f"Momentum distribution against wave number {maps}.",
        ),
    }
    fixed |= {
        "transition": (
            f"Evidence of a transition against {axis.symbol}. Above: S(K), interaction energy, energy relative to the "
            "liquid branch, and slope; black: the wavefunction of this page, blue and red: its liquid and its crystal, "
            "each trained on. Below: fidelity susceptibility, overlaps between the wavefunctions at different "
            f"{axis.symbol}, overlaps with trial states, and use of the experts. Shaded: the transition and its "
            "uncertainty, if there is one. Error bars are one standard error.",
            f"Eight panels of evidence for or against a transition along {axis.symbol}.",
        ),
        "ablation": (
            "Error of the energy of each variant of the wavefunction against the cost of its training, and at every "
            "depth. Error bars: over seeds.",
            "Error of the energy against the cost of the training for several variants of the wavefunction.",
        ),
    }
    plain = name.replace("_", " ").capitalize()
    return fixed.get(name, (f"{plain}.", f"Figure {plain.lower()}."))


def _ends(record: Record, name: str) -> str:
    """`from -44.5 to -92.5 meV per electron` along the axis."""
    values = record.dataset[name].values[record.order]
    unit = record.dataset[name].attrs["units"].removeprefix("1")
    return f"from {values[0]:.4g} to {values[-1]:.4g} {unit}".rstrip()


def _shaded(record: Record) -> str:
    found = transition(record.dataset) if "structure_factor_K" in record.dataset else None
    return " Shaded: the interval in which S(K) jumps." if found is not None else ""


def _energy(record: Record, axis: Axis) -> tuple[str, str]:
    known = known_values(record.dataset)
    caption = f"Energy and its terms against the {axis.name}.{_shaded(record)} {_MEANS}"
    if known is not None and len(known.depth):
        caption += (
            " Open squares: exact diagonalisation. Lower panels: the energy relative to Hartree-Fock, that is minus "
            "the correlation energy found, and relative to the exact value, for the rows where these are known."
        )
    elif known is not None:
        caption += " Lower panel: the energy relative to Hartree-Fock."
    return (
        caption,
        f"Total, kinetic and potential energies against {axis.symbol}; the total goes {_ends(record, 'energy')}.",
    )


def _interaction(record: Record, axis: Axis) -> tuple[str, str]:
    known = known_values(record.dataset)
    squares = " Open squares: exact diagonalisation, good to about 0.1 meV." if known and len(known.depth) else ""
    caption = f"Interaction energy against the {axis.name}.{_shaded(record)}{squares} {_MEANS}"
    return caption, f"Interaction energy against {axis.symbol}; it goes {_ends(record, 'interaction')}."


def _training(record: Record) -> tuple[str, str]:
    caption = (
        "Training at several depths: energy relative to the evaluated one where every trained depth was evaluated, to "
        "its late mean otherwise; variance of the local energy; acceptance; and size of the update. Thick lines are "
        "rolling means over a fortieth of the steps, thin ones single steps. The energies average over wavefunctions "
        "that still change: they show whether the training has settled, and are no results."
    )
    steps = f" over {len(record.training.step)} steps" if record.training is not None else ""
    return caption, f"Energy, variance, acceptance and update{steps} of the training."


def _structure_factor(record: Record, axis: Axis) -> tuple[str, str]:
    caption, alt = "", f"Maps of the static structure factor for several values of {axis.symbol}"
    if np.isfinite(record.dataset["structure_factor_K"].values).any():
        caption = (
            f"Above: structure factor S(K) at the corners of the moiré Brillouin zone against the {axis.name}."
            f"{_shaded(record)} {_WALKERS} Below: "
        )
        alt = f"S(K) against {axis.symbol}, {_ends(record, 'structure_factor_K')}, above maps of S(q)"
    caption += (
        "S(q) for several values, one tile for each wave vector of the periodic cell; q = 0 is left out (grey), and "
        "a white line is the first moiré Brillouin zone."
    )
    return caption[0].upper() + caption[1:], f"{alt}."
