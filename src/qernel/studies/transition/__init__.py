"""TODO."""

from ._figure import draw_transition as draw_transition
from ._figure import transition_figure as transition_figure
from ._finding import TransitionFinding as TransitionFinding
from ._finding import find_transition as find_transition
