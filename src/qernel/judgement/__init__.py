"""TODO."""

from ._branch_crossing import BranchCrossing as BranchCrossing
from ._branch_crossing import branch_crossing as branch_crossing
from ._findings import Finding as Finding
from ._findings import findings as findings
from ._findings import kinetic_sigma as kinetic_sigma
from ._findings import verdict as verdict
from ._hellmann_feynman import SlopeCheck as SlopeCheck
from ._hellmann_feynman import slope_check as slope_check
from ._jump import Transition as Transition
from ._jump import steepest_stretch as steepest_stretch
from ._order import transition as transition
from ._tangents import TangentCheck as TangentCheck
from ._tangents import tangent_check as tangent_check
from ._tangents import tangents_meet as tangents_meet
