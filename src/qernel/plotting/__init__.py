"""Figures of a run: energies, order parameters, observables, densities, structure factors, training.

Everything is read from the labelled table. Along one coordinate figures are curves, in a plane of two they are maps.
"""

from ._curves import pair_correlation_figure as pair_correlation_figure
from ._curves import pair_distances_figure as pair_distances_figure
from ._density import density_figure as density_figure
from ._draw import draw as draw
from ._draw import save_figure as save_figure
from ._energy import energy_figure as energy_figure
from ._interaction import interaction_figure as interaction_figure
from ._known import draw_known_branches as draw_known_branches
from ._known import draw_known_slopes as draw_known_slopes
from ._known import exact_difference as exact_difference
from ._momentum_distribution import momentum_distribution_figure as momentum_distribution_figure
from ._multiples import multiples as multiples
from ._observables import observables_figure as observables_figure
from ._observables import scalar_observables as scalar_observables
from ._order import order_figure as order_figure
from ._palette import phase_colours as phase_colours
from ._palette import term_colours as term_colours
from ._palette import term_label as term_label
from ._plane import category_map as category_map
from ._profiles import maps_figure as maps_figure
from ._profiles import profiles_figure as profiles_figure
from ._quantity import Quantity as Quantity
from ._quantity import measured as measured
from ._rows import axis_text as axis_text
from ._rows import energy_unit as energy_unit
from ._rows import mark_known_places as mark_known_places
from ._rows import row_title as row_title
from ._rows import shade_transition as shade_transition
from ._slope import slope_figure as slope_figure
from ._structure_factor import structure_factor_figure as structure_factor_figure
from ._style import BLACK as BLACK
from ._style import BLUE as BLUE
from ._style import GREEN as GREEN
from ._style import ORANGE as ORANGE
from ._style import PURPLE as PURPLE
from ._style import RED as RED
from ._style import SKY as SKY
from ._style import STYLE as STYLE
from ._style import in_math as in_math
from ._style import new_figure as new_figure
from ._style import unit_text as unit_text
from ._style import with_unit as with_unit
from ._training import training_figure as training_figure
