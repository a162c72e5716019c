"""Quantum dots: electrons that repel one another in an isotropic harmonic trap of two or three dimensions."""

from ._family import DOT_COORDINATES as DOT_COORDINATES
from ._family import dot_couplings as dot_couplings
from ._family import dot_family as dot_family
from ._family import dot_frequency as dot_frequency
from ._family import dot_strength as dot_strength
from ._family import dot_values as dot_values
from ._mean_field import DotBranches as DotBranches
from ._mean_field import DotFrequency as DotFrequency
from ._mean_field import DotLength as DotLength
from ._observables import PairDensity as PairDensity
from ._observables import RadialDensity as RadialDensity
from ._section import DotSection as DotSection
from ._section import DotSection as SECTION  # noqa: F401
from ._system import branches_of as branches_of
from ._system import dot_system as dot_system
