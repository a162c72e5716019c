"""Neural-network layers, with no physics in them.

Every layer takes one example, `(electrons, features)`; batching is `jax.vmap` outside. Layers compute at the
dtype of their input, state the precision of their matrix products, and pass through a forward Laplacian. Features have
no unit; only [`PeriodicEmbedding`][qernel.layers.PeriodicEmbedding] sees positions.
"""

from ._attention import GroupedQueryAttention as GroupedQueryAttention
from ._density_waves import DensityWaves as DensityWaves
from ._embedding import AbstractEmbedding as AbstractEmbedding
from ._embedding import AbstractPairBias as AbstractPairBias
from ._experts import MixtureOfExperts as MixtureOfExperts
from ._film import FiLM as FiLM
from ._frozen import Frozen as Frozen
from ._frozen import trainable as trainable
from ._gate import AbstractGate as AbstractGate
from ._gate import Softmax as Softmax
from ._gate import SparseGate as SparseGate
from ._gate import Spline as Spline
from ._gate import SquaredReLU as SquaredReLU
from ._gate import TopK as TopK
from ._linear import Linear as Linear
from ._mlp import MLP as MLP
from ._norm import LayerNorm as LayerNorm
from ._norm import RMSNorm as RMSNorm
from ._open_embedding import OpenEmbedding as OpenEmbedding
from ._open_pair_bias import OpenPairBias as OpenPairBias
from ._pair_bias import PairBias as PairBias
from ._periodic_embedding import PeriodicEmbedding as PeriodicEmbedding
from ._rational_waves import rational_waves as rational_waves
from ._router import AbstractRouter as AbstractRouter
from ._router import ConditionRouter as ConditionRouter
from ._router import ElectronRouter as ElectronRouter
from ._router import JointRouter as JointRouter
