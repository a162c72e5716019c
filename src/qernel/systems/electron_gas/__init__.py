"""The homogeneous electron gas in two and three dimensions, over its density and its boundary condition."""

from ._bulk import bulk_correlation as bulk_correlation
from ._bulk import bulk_energy as bulk_energy
from ._bulk import bulk_exchange as bulk_exchange
from ._bulk import bulk_kinetic as bulk_kinetic
from ._crystal import WignerCrystal as WignerCrystal
from ._crystal import wigner_crystal as wigner_crystal
from ._family import GAS_CELLS as GAS_CELLS
from ._family import GAS_COORDINATES as GAS_COORDINATES
from ._family import gas_cell as gas_cell
from ._family import gas_family as gas_family
from ._family import gas_twist as gas_twist
from ._filling import PlaneWaveFilling as PlaneWaveFilling
from ._filling import plane_wave_filling as plane_wave_filling
from ._observables import BraggPeak as BraggPeak
from ._observables import FiniteSizeCorrections as FiniteSizeCorrections
from ._section import GasSection as GasSection
from ._section import GasSection as SECTION  # noqa: F401
from ._system import gas_system as gas_system
