"""Figures of a run: energies, densities, structure factors, training."""

from ._ablation import ablation_figure as ablation_figure
from ._density import density_figure as density_figure
from ._draw import draw as draw
from ._draw import save_figure as save_figure
from ._energy import energy_figure as energy_figure
from ._interaction import interaction_figure as interaction_figure
from ._momentum_distribution import momentum_distribution_figure as momentum_distribution_figure
from ._pair_correlation import pair_correlation_figure as pair_correlation_figure
from ._scaling import scaling_figure as scaling_figure
from ._slope import slope_figure as slope_figure
from ._structure_factor import structure_factor_figure as structure_factor_figure
from ._training import training_figure as training_figure
from ._transition import draw_transition as draw_transition
from ._transition import transition_figure as transition_figure
