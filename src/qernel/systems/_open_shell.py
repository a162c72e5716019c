"""Systems whose orbitals may have to be complex."""

import abc
from collections.abc import Sequence

from ._section import SystemSection


class OpenShellSection(SystemSection, abc.ABC):
    """The [system] section of a system that fills open shells: orbitals of some fillings are complex."""

    @abc.abstractmethod
    def complex_references(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of the sets among these that are complex, for which a wavefunction must be so too."""


def complex_references(section: SystemSection, names: Sequence[str]) -> tuple[str, ...]:
    """Names of the complex ones among some sets of orbitals of a system: none unless it says so."""
    return section.complex_references(names) if isinstance(section, OpenShellSection) else ()
