"""Gradient and Laplacian of log ψ: the forward Laplacian (default) and an exact slow reference."""

from ._derivatives import AbstractLaplacian as AbstractLaplacian
from ._forward import FolxLaplacian as FolxLaplacian
from ._forward import ForwardLaplacian as ForwardLaplacian
from ._hessian import HessianTrace as HessianTrace
