"""Kinetic energy, interactions and external potentials, their sum, and families of Hamiltonians."""

from ._coulomb import Coulomb as Coulomb
from ._coulomb import Nuclei as Nuclei
from ._coulomb_divergence import AbstractCoulomb as AbstractCoulomb
from ._coulomb_divergence import CoulombDivergence as CoulombDivergence
from ._cusp import Cusp as Cusp
from ._ewald import Ewald as Ewald
from ._family import Family as Family
from ._hamiltonian import Hamiltonian as Hamiltonian
from ._harmonic import Harmonic as Harmonic
from ._harmonic_pair import HarmonicPair as HarmonicPair
from ._in_phase import InPhase as InPhase
from ._in_phase import in_phases as in_phases
from ._in_phase import without_phase as without_phase
from ._kinetic import Kinetic as Kinetic
from ._moire import MoireParameters as MoireParameters
from ._moire import MoirePotential as MoirePotential
from ._moire import moire_coulomb_strength as moire_coulomb_strength
from ._moire import moire_inverse_mass as moire_inverse_mass
from ._moire_system import moire_family as moire_family
from ._moire_system import moire_hamiltonian as moire_hamiltonian
from ._moire_system import moire_parameters as moire_parameters
from ._potential import AbstractPotential as AbstractPotential
from ._potential import Potential as Potential
