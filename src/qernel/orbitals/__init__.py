"""One-electron orbitals, their determinants, and Jastrow factors."""

from ._determinants import ProbedDeterminants as ProbedDeterminants
from ._determinants import log_sum_determinants as log_sum_determinants
from ._determinants import log_sum_determinants_laplacian as log_sum_determinants_laplacian
from ._determinants import log_sum_determinants_probed as log_sum_determinants_probed
from ._expanded import ExpandedOrbitals as ExpandedOrbitals
from ._harmonic_levels import harmonic_levels as harmonic_levels
from ._harmonic_levels import levels_below as levels_below
from ._harmonic_orbitals import HarmonicOrbitals as HarmonicOrbitals
from ._interpolated import InterpolatedOrbitals as InterpolatedOrbitals
from ._jastrow import CuspJastrow as CuspJastrow
from ._jastrow import CuspStrength as CuspStrength
from ._jastrow import PairJastrow as PairJastrow
from ._jastrow import cusp_slope as cusp_slope
from ._nuclear_jastrow import NuclearJastrow as NuclearJastrow
from ._open_pair_jastrow import OpenPairJastrow as OpenPairJastrow
from ._orbitals import AbstractOrbitals as AbstractOrbitals
from ._pair_factor import AbstractPairFactor as AbstractPairFactor
from ._plane_wave_orbitals import plane_wave_orbitals as plane_wave_orbitals
from ._plane_waves import PlaneWaves as PlaneWaves
from ._plane_waves import from_exponentials as from_exponentials
from ._plane_waves import real_from_exponentials as real_from_exponentials
from ._plane_waves import to_exponentials as to_exponentials
from ._spin_blocks import SpinBlocks as SpinBlocks
from ._spin_blocks import check_spins as check_spins
from ._trap_orbitals import TrapOrbitals as TrapOrbitals
