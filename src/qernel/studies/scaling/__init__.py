"""One family of Hamiltonians in several sizes: a run for each, and whether its transition sharpens with them."""

from ._analysis import SizeTransition as SizeTransition
from ._analysis import growth as growth
from ._analysis import scaling_rows as scaling_rows
from ._analysis import scaling_table as scaling_table
from ._analysis import scaling_verdict as scaling_verdict
from ._analysis import size_transition as size_transition
from ._figure import scaling_figure as scaling_figure
from ._quantity import SizedQuantity as SizedQuantity
from ._quantity import sized_quantities as sized_quantities
from ._scale import Scaling as Scaling
from ._scale import compare_sizes as compare_sizes
from ._scale import scale as scale
