"""Means over independent walkers, with errors from the walkers' spread."""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Inexact, Int, PyTree

from ._jackknife import jackknife

# As in `series_statistics`: the spread of fewer walkers says too little about their error.
_WALKERS = 8


class Estimate(eqx.Module):
    r"""An expectation value and its standard error, of the same shape; host, float64.

    **Fields:** `value`, and its `error`: of a complex value that of its real and imaginary part together,
    $\sqrt{\sigma_r^2 + \sigma_i^2}$.

    **Raises:** `ValueError` if the two have different shapes.
    """

    value: Inexact[np.ndarray, "..."]
    error: Float[np.ndarray, "..."]

    def __init__(self, value: Any, error: Any):
        # NumPy makes a scalar, which is no array, of every product of a 0-dimensional one.
        self.value, self.error = np.asarray(value), np.asarray(error)

    def __check_init__(self) -> None:
        # Tree transformations put other things than arrays here.
        shapes = [getattr(x, "shape", None) for x in (self.value, self.error)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"an estimate needs value and error of one shape, got {shapes[0]} and {shapes[1]}")


class WalkerMeans(eqx.Module):
    r"""The mean $\bar x_w$ of a quantity along the chain of each walker, and the number $n_w$ of samples in it.

    Walkers are independent chains, so their spread gives the error of the common mean whatever the autocorrelation
    within a chain. Below eight walkers errors are NaN, with a warning; walkers without a sample are left out.

    **Fields:** `means` of each walker, `samples` in each of them.
    """

    means: Inexact[np.ndarray, "walkers ..."]
    samples: Int[np.ndarray, " walkers"]

    def estimate(self) -> Estimate:
        r"""Mean over the walkers, $\bar x = \sum_w p_w\bar x_w$ with $p_w = n_w/\sum n$, and its error,
        $\sigma^2 = \frac{W}{W-1}\sum_w p_w^2\,|\bar x_w - \bar x|^2$."""
        means, share = self._used()
        value = np.tensordot(share, means, 1)
        spread = np.tensordot(share**2, np.abs(means - value) ** 2, 1)
        return self._with_error(value, spread * len(share) / max(len(share) - 1, 1))

    def jackknife(self, function: Callable[[np.ndarray], Any]) -> Estimate:
        r"""A real nonlinear function $f(\bar x)$, and its error from leaving out one walker at a time.

        The value keeps the bias of order 1/samples that any nonlinear function has: correcting it would mix up the
        order of eigenvalues.
        """
        means, share = self._used()
        value = np.asarray(function(np.tensordot(share, means, 1)))
        # An axis more: numpy turns arithmetic on scalar arrays into what is no array.
        _, error = jackknife(lambda mean: np.asarray(function(mean))[None], means)
        return self._with_error(value, error[0] ** 2)

    def _used(self):
        used = self.samples > 0
        return self.means[used], self.samples[used] / max(self.samples.sum(), 1)

    def _with_error(self, value, variance) -> Estimate:
        walkers = int(np.sum(self.samples > 0))
        if walkers < _WALKERS:
            warnings.warn(f"an error bar needs at least {_WALKERS} walkers, got {walkers}", stacklevel=3)
        if walkers == 0:
            value = np.full_like(value, np.nan)
        return Estimate(np.asarray(value), np.where(walkers < _WALKERS, np.nan, np.sqrt(variance)))


def estimate(values: Inexact[np.ndarray, "walkers rounds ..."]) -> Estimate:
    """Mean of values measured along parallel chains, and its error from the spread of the walkers' means.

    Right under any autocorrelation, with at least eight walkers (see [`WalkerMeans`][qernel.observables.WalkerMeans]).
    A sample with a value that is not finite is left out as a whole. For energies, whose series are long,
    [`series_statistics`][qernel.observables.series_statistics] says more.
    """
    values = np.asarray(values, np.result_type(values, np.float64))
    finite = np.isfinite(values).all(axis=tuple(range(2, values.ndim)))
    samples = finite.sum(axis=1)
    kept = np.where(finite.reshape(*finite.shape, *(1,) * (values.ndim - 2)), values, 0)
    count = np.maximum(samples, 1).reshape(-1, *(1,) * (values.ndim - 2))
    return WalkerMeans(kept.sum(axis=1) / count, samples).estimate()


def estimates(means: PyTree[WalkerMeans]) -> PyTree[Estimate]:
    """The estimate of every leaf of a pytree of `WalkerMeans`."""
    return jax.tree.map(WalkerMeans.estimate, means, is_leaf=lambda leaf: isinstance(leaf, WalkerMeans))
