"""Gradient and Laplacian of log ψ: forward, from a few random directions, or by an exact slow reference."""

from ._derivatives import AbstractLaplacian as AbstractLaplacian
from ._derivatives import AbstractRandomLaplacian as AbstractRandomLaplacian
from ._forward import FolxLaplacian as FolxLaplacian
from ._forward import ForwardLaplacian as ForwardLaplacian
from ._hessian import HessianTrace as HessianTrace
from ._probed import ProbedLaplacian as ProbedLaplacian
from ._probed import probed_derivatives as probed_derivatives
