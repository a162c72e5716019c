"""TODO."""

from ._transfer import begun_from as begun_from
from ._transfer import with_network_of as with_network_of
