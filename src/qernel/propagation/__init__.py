"""Second-order forward propagation: a value, its Jacobian and its Laplacian through one operation after the other."""

from ._directions import AbstractDirections as AbstractDirections
from ._directions import EveryCoordinate as EveryCoordinate
from ._directions import Probes as Probes
from ._directions import random_probes as random_probes
from ._generic import generic as generic
from ._generic import propagate as propagate
from ._jet import Jet as Jet
from ._jet import own_jet as own_jet
from ._operations import add as add
from ._operations import constant_features as constant_features
from ._operations import elementwise as elementwise
from ._operations import linear as linear
from ._operations import multiply as multiply
from ._operations import scale_and_shift as scale_and_shift
from ._operations import softmax as softmax
from ._operations import sum_features as sum_features
from ._pair_jet import PairJet as PairJet
