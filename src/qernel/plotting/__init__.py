"""Figures of a run: energies, densities, structure factors, training."""

from ._density import density_figure as density_figure
from ._draw import draw as draw
from ._draw import save_figure as save_figure
from ._energy import energy_figure as energy_figure
from ._interaction import interaction_figure as interaction_figure
from ._momentum_distribution import momentum_distribution_figure as momentum_distribution_figure
from ._pair_correlation import pair_correlation_figure as pair_correlation_figure
from ._slope import slope_figure as slope_figure
from ._structure_factor import structure_factor_figure as structure_factor_figure
from ._style import BLACK as BLACK
from ._style import BLUE as BLUE
from ._style import GREEN as GREEN
from ._style import OF_PHASE as OF_PHASE
from ._style import ORANGE as ORANGE
from ._style import OTHERS as OTHERS
from ._style import PURPLE as PURPLE
from ._style import RED as RED
from ._style import SKY as SKY
from ._style import STYLE as STYLE
from ._style import axis_text as axis_text
from ._style import energy_unit as energy_unit
from ._style import in_order as in_order
from ._style import new_figure as new_figure
from ._training import training_figure as training_figure
