"""TODO."""

from ._analysis import SizeTransition as SizeTransition
from ._analysis import growth as growth
from ._analysis import interaction_transition as interaction_transition
from ._analysis import order_transition as order_transition
from ._analysis import scaling_rows as scaling_rows
from ._analysis import scaling_table as scaling_table
from ._analysis import scaling_verdict as scaling_verdict
from ._analysis import size_transition as size_transition
from ._figure import scaling_figure as scaling_figure
