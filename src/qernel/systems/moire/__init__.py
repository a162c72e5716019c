"""Electrons in a semiconductor moiré heterobilayer: quantum liquid and generalised Wigner crystal
(arXiv:2604.26018)."""

from ._crystal_order import CrystalOrder as CrystalOrder
from ._crystal_order import crystal_order as crystal_order
from ._family import moire_coordinates as moire_coordinates
from ._family import moire_family as moire_family
from ._family import moire_hamiltonian as moire_hamiltonian
from ._family import moire_parameters as moire_parameters
from ._known_values import moire_known_values as moire_known_values
from ._material import Material as Material
from ._orbitals import MoireOrbitals as MoireOrbitals
from ._order_parameters import CornerStructureFactor as CornerStructureFactor
from ._order_parameters import CrystalOrders as CrystalOrders
from ._potential import MoireParameters as MoireParameters
from ._potential import MoirePotential as MoirePotential
from ._potential import moire_coulomb_strength as moire_coulomb_strength
from ._potential import moire_inverse_mass as moire_inverse_mass
from ._section import MoireSection as MoireSection
from ._section import MoireSection as SECTION  # noqa: F401  # found by qernel.systems under this name
from ._system import moire_system as moire_system
