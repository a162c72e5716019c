"""References on the host, in float64: Bloch orbitals, Hartree-Fock, exact diagonalisation."""

from ._bloch import BlochOrbitals as BlochOrbitals
from ._bloch import bloch_orbitals as bloch_orbitals
from ._branch import OrbitalBranch as OrbitalBranch
from ._branch import crystal_branch as crystal_branch
from ._branch import liquid_branch as liquid_branch
from ._branch import orbital_branch as orbital_branch
from ._branch import potential_depth as potential_depth
from ._classical import ClassicalCrystal as ClassicalCrystal
from ._classical import classical_crystal as classical_crystal
from ._crystal import crystal_sites as crystal_sites
from ._exact import ExactState as ExactState
from ._exact import basis_limit as basis_limit
from ._exact import exact_diagonalisation as exact_diagonalisation
from ._hartree_fock import HartreeFock as HartreeFock
from ._hartree_fock import hartree_fock as hartree_fock
from ._orbital_set import OrbitalSet as OrbitalSet
from ._problem import default_cutoff as default_cutoff
from ._problem import plane_waves as plane_waves
from ._space_group import SpaceGroup as SpaceGroup
from ._space_group import crystal_symmetries as crystal_symmetries
from ._starts import crystal_start as crystal_start
from ._starts import gaussian_orbitals as gaussian_orbitals
from ._starts import perturbed as perturbed
from ._starts import random_start as random_start
