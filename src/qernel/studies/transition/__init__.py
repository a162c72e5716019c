"""Whether, where and how the phase of matter changes: a scan, branches, the finding and its figure."""

from ._figure import draw_transition as draw_transition
from ._figure import transition_figure as transition_figure
from ._find import find as find
from ._finding import TransitionFinding as TransitionFinding
from ._finding import find_transition as find_transition
from ._scan import Scan as Scan
