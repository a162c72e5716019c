"""Which ingredients of a wavefunction pay: variants trained at equal budget, and their errors side by side."""

from ._ablate import Ablation as Ablation
from ._ablate import ablate as ablate
from ._analysis import SeedMean as SeedMean
from ._analysis import ablation_error as ablation_error
from ._analysis import ablation_seconds as ablation_seconds
from ._analysis import ablation_table as ablation_table
from ._analysis import ablation_verdict as ablation_verdict
from ._analysis import seed_mean as seed_mean
from ._collect import collect as collect
from ._collect import compare_variants as compare_variants
from ._figure import ablation_figure as ablation_figure
from ._measured import at_point as at_point
from ._variants import Variant as Variant
from ._variants import variants as variants
