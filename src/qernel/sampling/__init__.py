"""Markov chains of many walkers through BlackJAX kernels: of a wavefunction they know nothing but a log-density."""

from ._diagnostics import effective_samples as effective_samples
from ._diagnostics import r_hat as r_hat
from ._efficiency import Efficiency as Efficiency
from ._efficiency import efficiency as efficiency
from ._initial_positions import initial_positions as initial_positions
from ._kernels import BlockWalk as BlockWalk
from ._kernels import Kernel as Kernel
from ._kernels import langevin as langevin
from ._kernels import random_walk as random_walk
from ._metropolis import Metropolis as Metropolis
from ._sampler import Sampler as Sampler
from ._sampler import Walkers as Walkers
from ._sampler import sampling_round as sampling_round
from ._starting_width import starting_width as starting_width
