"""Errors of several trainings against what they cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qernel.plotting import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, new_figure, unit_text, with_unit

from ._curves import Curves, Reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK)
_DASHES = ("-", "--", ":", "-.")


def comparison_figure(found: tuple[Reference, Sequence[Curves]]) -> "Figure":
    """Largest error, mean error and largest V-score against the seconds of the training and against its samples.

    Takes what [`curves_of`][qernel.studies.compare.curves_of] returns. Of errors below the statistical one, shaded, the
    axis is linear.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    reference, curves = found
    figure = new_figure(10.0, 8.5)
    panels = figure.subplots(3, 2, sharex="col", sharey="row")
    noise = max((c.error for c in curves if np.isfinite(c.error) and c.error > 0), default=0.0)
    for i, one in enumerate(curves):
        # More runs than colours are told apart by dashes.
        style = {"color": _COLOURS[i % len(_COLOURS)], "ls": _DASHES[i // len(_COLOURS) % len(_DASHES)]}
        for column, x in enumerate((one.seconds, one.samples)):
            for row, y in enumerate((one.largest, one.mean, one.v_score)):
                panels[row, column].plot(x, y, label=one.training.name if not row + column else None, **style)
    unit = unit_text(curves[0].training.physics.unit)
    minus = "exact" if reference.exact else "lowest reached"
    texts = (f"largest error, $E$ − {minus}", f"mean error, $E$ − {minus}")
    for row, text in enumerate(texts):
        panels[row, 0].set_ylabel(f"{text}\n({unit})")
        shown = np.concatenate([(c.largest, c.mean)[row] for c in curves])
        largest = np.nanmax(shown, initial=0.0) if np.isfinite(shown).any() else 0.0
        for panel in panels[row]:
            panel.axhline(0, color="grey", lw=0.8)
            if noise > 0:
                panel.axhspan(-noise, noise, color="#eeeeee", zorder=0)
            if largest > 5 * noise > 0:
                panel.set_yscale("symlog", linthresh=noise, linscale=0.6)
    scores = np.concatenate([c.v_score for c in curves])
    panels[2, 0].set_ylabel("largest V-score")
    if np.any(scores > 0):
        panels[2, 0].set_yscale("log")
    for column, text in enumerate((with_unit("training", "s"), "samples (local energies)")):
        panels[2, column].set_xlabel(text)
        if all(np.all(x > 0) for x in ((c.seconds, c.samples)[column] for c in curves)):
            panels[2, column].set_xscale("log")
            axis = panels[2, column].xaxis
            axis.set_minor_formatter(NullFormatter())
            if column == 0:
                # Trainings differ by less than a decade of seconds: the powers of ten alone would be one label.
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    figure.legend(loc="outside upper center", ncols=min(len(curves), 4))
    figure.align_ylabels()
    return figure
