"""Bravais lattices, supercells, reciprocal vectors, wrapping and minimum images. No physics.

Lengths may have any unit, reciprocal vectors have its inverse: effective Bohr radii wherever a Hamiltonian uses them.
"""

from ._bravais import bcc as bcc
from ._bravais import cubic as cubic
from ._bravais import fcc as fcc
from ._bravais import hexagonal as hexagonal
from ._bravais import oblique as oblique
from ._bravais import rectangular as rectangular
from ._bravais import square as square
from ._bravais import triangular as triangular
from ._lattice import Lattice as Lattice
from ._momentum_group import MomentumGroup as MomentumGroup
from ._periodic_distance import PeriodicDistance as PeriodicDistance
from ._point_group import point_group as point_group
from ._shells import shells as shells
from ._supercell import Supercell as Supercell
from ._supercell import check_commensurate as check_commensurate
from ._supercell import is_commensurate as is_commensurate
from ._supercell import supercell as supercell
from ._triangular_index import triangular_index as triangular_index
