"""Markov chains of many walkers through BlackJAX kernels. Knows nothing but a log-density."""

from ._diagnostics import effective_samples as effective_samples
from ._diagnostics import r_hat as r_hat
from ._sampler import Sampler as Sampler
from ._sampler import Walkers as Walkers
from ._sampler import random_walk as random_walk
