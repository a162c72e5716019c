"""Judgement of a table of results: limits, doubts, slopes, tangents, phases and the changes between them, in words."""

from ._branch_crossing import BranchCrossing as BranchCrossing
from ._branch_crossing import branch_crossing as branch_crossing
from ._findings import Finding as Finding
from ._findings import findings as findings
from ._findings import kinetic_sigma as kinetic_sigma
from ._findings import verdict as verdict
from ._hellmann_feynman import SlopeCheck as SlopeCheck
from ._hellmann_feynman import SlopeLine as SlopeLine
from ._hellmann_feynman import slope_lines as slope_lines
from ._jump import Jump as Jump
from ._jump import steepest_stretch as steepest_stretch
from ._jump import stretch_of as stretch_of
from ._known_places import known_place_sentences as known_place_sentences
from ._known_places import known_places as known_places
from ._order import interaction_of as interaction_of
from ._order import order_jump as order_jump
from ._order import order_parameter as order_parameter
from ._phase_boundary import PhaseBoundary as PhaseBoundary
from ._phase_boundary import phase_boundaries as phase_boundaries
from ._phase_crossing import competitors as competitors
from ._phase_crossing import crossing_sentence as crossing_sentence
from ._phase_crossing import phase_crossings as phase_crossings
from ._tangents import TangentCheck as TangentCheck
from ._tangents import tangent_check as tangent_check
