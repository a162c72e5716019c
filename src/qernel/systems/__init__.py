"""Physical systems: a family of Hamiltonians with its units, phases, order parameters and known values."""

from ._known_systems import system_names as system_names
from ._known_systems import system_section as system_section
from ._open_shell import OpenShellSection as OpenShellSection
from ._open_shell import complex_references as complex_references
from ._order_parameter import OrderParameter as OrderParameter
from ._order_parameter import label_order_parameters as label_order_parameters
from ._periodic_blocks import periodic_blocks as periodic_blocks
from ._phase import Phase as Phase
from ._phase import matter_of as matter_of
from ._section import MOST as MOST
from ._section import MOST_MEMBERS as MOST_MEMBERS
from ._section import Count as Count
from ._section import Electrons as Electrons
from ._section import Finite as Finite
from ._section import Positive as Positive
from ._section import Section as Section
from ._section import SystemSection as SystemSection
from ._section import Values as Values
from ._section import check_points as check_points
from ._section import distinct as distinct
from ._section import electrons_text as electrons_text
from ._sized import SizedSection as SizedSection
from ._sized import sized as sized
from ._system import System as System
from ._system import Walkers as Walkers
