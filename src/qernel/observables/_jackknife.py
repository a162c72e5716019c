"""Errors of functions of means, from independent walkers."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Num


def jackknife(
    statistic: Callable[..., np.ndarray], *of_walkers: Num[np.ndarray, "walkers ..."]
) -> tuple[np.ndarray, np.ndarray]:
    r"""A real function of means over walkers, without its leading bias, and its error.

    `of_walkers` are each walker's own means; `statistic` takes their means over all walkers. Walkers are independent
    chains, so that leaving one out at a time gives the error under any autocorrelation:
    $\sigma^2 = \frac{W-1}{W}\sum_w (f_w - \bar f)^2$. A walker with an entry that is not finite is left out. NaN errors
    below two walkers.

    **Source:** Efron, The jackknife, the bootstrap and other resampling plans (1982).
    """
    used = np.all([np.all(np.isfinite(x.reshape(len(x), -1)), axis=1) for x in of_walkers], axis=0)
    kept = [x[used] for x in of_walkers]
    count = int(used.sum())
    if count == 0:
        empty = np.full_like(np.asarray(statistic(*(x.sum(axis=0) for x in of_walkers)), np.float64), np.nan)
        return empty, empty
    whole = np.asarray(statistic(*(x.mean(axis=0) for x in kept)), np.float64)
    if count == 1:
        return whole, np.full_like(whole, np.nan)
    sums = [x.sum(axis=0) for x in kept]
    without = np.array(
        [statistic(*((s - x[w]) / (count - 1) for s, x in zip(sums, kept, strict=True))) for w in range(count)]
    )
    error = np.sqrt((count - 1) / count * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    return np.asarray(count * whole - (count - 1) * without.mean(axis=0)), np.asarray(error)
