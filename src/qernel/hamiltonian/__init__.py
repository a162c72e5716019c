"""Kinetic energy, interactions and external potentials, their sum, and families of Hamiltonians."""

from ._coordinate import Coordinate as Coordinate
from ._coulomb import Coulomb as Coulomb
from ._coulomb import Nuclei as Nuclei
from ._coulomb_divergence import AbstractCoulomb as AbstractCoulomb
from ._coulomb_divergence import CoulombDivergence as CoulombDivergence
from ._cusp import Cusp as Cusp
from ._ewald import Ewald as Ewald
from ._family import Family as Family
from ._family import Points as Points
from ._hamiltonian import Hamiltonian as Hamiltonian
from ._harmonic import Harmonic as Harmonic
from ._harmonic_pair import HarmonicPair as HarmonicPair
from ._in_phase import InPhase as InPhase
from ._in_phase import in_phases as in_phases
from ._in_phase import without_phase as without_phase
from ._kinetic import Kinetic as Kinetic
from ._nuclear_cusp import NuclearCusp as NuclearCusp
from ._potential import AbstractLatticePotential as AbstractLatticePotential
from ._potential import AbstractPotential as AbstractPotential
from ._potential import Boundary as Boundary
from ._potential import Potential as Potential
