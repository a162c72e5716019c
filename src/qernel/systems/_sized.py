"""Systems that exist in several sizes."""

import abc

from ._section import SystemSection


class SizedSection(SystemSection, abc.ABC):
    """The [system] section of a system that exists in several sizes: the same physics in larger and smaller cells."""

    @property
    @abc.abstractmethod
    def sizes(self) -> tuple[str, ...]:
        """Sizes that a study compares unless it is told others, each as `resized` takes it."""

    @property
    @abc.abstractmethod
    def size_label(self) -> str:
        """The size in a word that may name a folder: `cells-9`. Two sections of one size have one label."""

    @abc.abstractmethod
    def resized(self, size: str) -> "SizedSection":
        """The section at another size, with the same density of electrons.

        **Raises:** `ValueError` for a size that there is not, or that cannot hold a whole number of electrons.
        """

    @abc.abstractmethod
    def feature_shells_for(self, other: "SizedSection", shells: int, least: int) -> int:
        """Number of shells of waves that hold those of another size: what was learnt on them can be carried over.

        **Arguments:** `other`, a section of the same system; `shells`, of its features of positions; `least`, a number
        that is enough otherwise.
        """


def sized(section: SystemSection) -> SizedSection:
    """The section of a system that exists in several sizes.

    **Raises:** `ValueError` if it does not.
    """
    if not isinstance(section, SizedSection):
        raise ValueError(f"the system {section.name} has no sizes: it cannot be made larger or smaller at one density")
    return section
