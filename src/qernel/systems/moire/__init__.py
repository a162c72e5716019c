"""TODO."""

from ._crystal_order import CrystalOrder as CrystalOrder
from ._crystal_order import crystal_order as crystal_order
from ._family import moire_family as moire_family
from ._family import moire_hamiltonian as moire_hamiltonian
from ._family import moire_parameters as moire_parameters
from ._known_values import KnownValues as KnownValues
from ._known_values import known_values as known_values
from ._material import Material as Material
from ._orbitals import family_of as family_of
from ._orbitals import reference_orbitals as reference_orbitals
from ._potential import MoireParameters as MoireParameters
from ._potential import MoirePotential as MoirePotential
from ._potential import moire_coulomb_strength as moire_coulomb_strength
from ._potential import moire_inverse_mass as moire_inverse_mass
