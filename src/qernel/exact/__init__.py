"""Reference values on the host, in float64: exact diagonalisation of few electrons, and what has a closed form."""

from ._exact import ExactState as ExactState
from ._exact import basis_limit as basis_limit
from ._exact import exact_diagonalisation as exact_diagonalisation
from ._harmonic_fermions import HarmonicSlopes as HarmonicSlopes
from ._harmonic_fermions import HarmonicTerms as HarmonicTerms
from ._harmonic_fermions import filling_boundary as filling_boundary
from ._harmonic_fermions import filling_energy as filling_energy
from ._harmonic_fermions import filling_metric as filling_metric
from ._harmonic_fermions import filling_slopes as filling_slopes
from ._harmonic_fermions import filling_susceptibility as filling_susceptibility
from ._harmonic_fermions import filling_terms as filling_terms
from ._harmonic_fermions import filling_widths as filling_widths
from ._harmonic_fermions import ground_energy as ground_energy
from ._harmonic_fermions import ground_fillings as ground_fillings
from ._harmonic_fermions import relative_frequencies as relative_frequencies
from ._two_electrons import TwoElectrons as TwoElectrons
from ._two_electrons import two_electrons_in_a_trap as two_electrons_in_a_trap
from ._two_electrons_in_a_cell import TwoElectronsInACell as TwoElectronsInACell
from ._two_electrons_in_a_cell import two_electrons_in_a_cell as two_electrons_in_a_cell
