"""Spin-polarised fermions in a harmonic trap with harmonic interaction: a family whose phase boundaries are known."""

from ._family import FREQUENCIES as FREQUENCIES
from ._family import point_values as point_values
from ._family import trap_coordinates as trap_coordinates
from ._family import trap_family as trap_family
from ._family import trap_frequencies as trap_frequencies
from ._family import trap_lengths as trap_lengths
from ._family import trap_strength as trap_strength
from ._fillings import boundaries_of_fillings as boundaries_of_fillings
from ._fillings import filling_name as filling_name
from ._fillings import fillings_of as fillings_of
from ._section import TrapSection as SECTION  # noqa: F401
from ._section import TrapSection as TrapSection
from ._system import UNITS as UNITS
from ._system import trap_system as trap_system
