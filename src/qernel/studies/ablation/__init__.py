"""TODO."""

from ._analysis import SeedMean as SeedMean
from ._analysis import ablation_error as ablation_error
from ._analysis import ablation_seconds as ablation_seconds
from ._analysis import ablation_table as ablation_table
from ._analysis import ablation_verdict as ablation_verdict
from ._figure import ablation_figure as ablation_figure
