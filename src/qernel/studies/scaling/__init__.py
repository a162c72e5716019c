"""One family of Hamiltonians in several sizes: a run for each, and whether its transition sharpens with them."""

from ._analysis import SizeTransition as SizeTransition
from ._analysis import growth as growth
from ._analysis import scaling_rows as scaling_rows
from ._analysis import scaling_table as scaling_table
from ._analysis import scaling_verdict as scaling_verdict
from ._analysis import size_transition as size_transition
from ._figure import scaling_figure as scaling_figure
from ._limit import Crossing as Crossing
from ._limit import InfiniteSize as InfiniteSize
from ._limit import infinite_size as infinite_size
from ._limit import limit_verdict as limit_verdict
from ._limit import size_crossing as size_crossing
from ._limit_figure import limit_figure as limit_figure
from ._quantity import SizedQuantity as SizedQuantity
from ._quantity import sized_quantities as sized_quantities
from ._scale import Scaling as Scaling
from ._scale import compare_sizes as compare_sizes
from ._scale import read_sizes as read_sizes
from ._scale import scale as scale
