"""Means of correlated time series of many walkers, with errors that can be believed."""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtri, stdtr

from ._limits import LIMITS

# Below this many walkers the spread of their means is itself too uncertain to correct the other estimate.
_WALKERS_FOR_SPREAD = 8


class SeriesStatistics(eqx.Module):
    r"""Mean of one stationary quantity from parallel time series $x_{wt}$, and how far it is to be believed.

    **Fields:**

    - `mean` over the finite samples, and its standard error `error`, the larger of two estimates:
      `error_autocorrelation`, from the pooled autocovariance, and `error_spread`, from the spread of the
      walkers' means (NaN with fewer than eight walkers: one walker in two would then widen the error by
      chance).
    - `variance` of single samples.
    - `autocorrelation_time`: $\tau = 1 + 2\sum_{t>0}\rho_t$, in rounds of sampling; 1 for independent samples.
    - `effective_samples`: `variance / error²`.
    - `r_hat`: split R̂, Gelman-Rubin ratio of the spread between half-chains to that within; 1 when
      converged.
    - `drift`: change of the mean from the beginning to the end of the measurement (linear fit), and
      `drift_sigma`, the same in units of its error, from the walkers' independent slopes.
    - `samples` used and `non_finite` ones excluded.

    With frozen parameters and after burn-in the error is right within its own uncertainty for any τ up to
    about a fifth of the run.
    """

    mean: float
    error: float
    error_autocorrelation: float
    error_spread: float
    variance: float
    autocorrelation_time: float
    effective_samples: float
    r_hat: float
    drift: float
    drift_sigma: float
    samples: int
    non_finite: int

    def doubts(self) -> list[str]:
        """Reasons not to trust the error, in words; empty when there is none."""
        found = []
        if self.samples == 0:
            return ["there is no finite sample"]
        if self.non_finite:
            share = self.non_finite / (self.samples + self.non_finite)
            found.append(f"{self.non_finite} samples ({share:.2g}) were not finite and are excluded")
        if not self.effective_samples >= LIMITS.effective_samples:
            found.append(f"only {self.effective_samples:.0f} effective samples: measure for longer")
        if self.r_hat > LIMITS.r_hat:
            found.append(
                f"the walkers remember where they started (R-hat {self.r_hat:.2f}, autocorrelation time "
                f"{self.autocorrelation_time:.0f} rounds): burn in and measure for longer"
            )
        if abs(self.drift_sigma) > LIMITS.drift_sigma:
            found.append(f"the mean drifts during the measurement ({self.drift_sigma:+.1f} sigma): burn in for longer")
        if self.error_spread > 1.6 * self.error_autocorrelation:
            found.append(
                f"the walkers' means spread {self.error_spread / self.error_autocorrelation:.1f} times "
                "more than their fluctuations explain: some walkers are trapped"
            )
        return found


def series_statistics(series: Float[np.ndarray, "walkers rounds"]) -> SeriesStatistics:
    r"""Mean, error, autocorrelation time and convergence of parallel chains of one quantity.

    Samples that are not finite are left out of everything and counted. The autocovariance is pooled over
    walkers about the common mean, $C_t = \sum_{w,t'}(x_{wt'}-\bar x)(x_{w,t'+t}-\bar x)\,/\,\text{pairs}$,
    its sum is truncated by Geyer's initial monotone sequence, and the error of the mean of W chains of T
    rounds is $\sigma^2 = \frac{1}{WT}\left[C_0 + 2\sum_t (1 - t/T)\,C_t\right]$: the weight $1 - t/T$ keeps
    it right for chains that are not much longer than τ.

    **Source:** C. J. Geyer, Statist. Sci. 7, 473 (1992); U. Wolff, arXiv:hep-lat/0306017; split R̂,
    arXiv:1903.08008.
    """
    series = np.asarray(series, np.float64)
    walkers, rounds = series.shape
    finite = np.isfinite(series)
    samples = int(finite.sum())
    non_finite = series.size - samples
    if samples == 0:
        nan = float("nan")
        return SeriesStatistics(nan, nan, nan, nan, nan, nan, 0.0, nan, nan, nan, 0, non_finite)
    mean = float(series[finite].mean())
    deviations = np.where(finite, series - mean, 0.0)
    variance = float(np.sum(deviations**2) / max(samples - 1, 1))
    tau, inflation = _autocorrelation(deviations, finite)
    error = float(np.sqrt(variance * inflation / samples))
    spread = _spread_of_means(deviations, finite) if walkers >= _WALKERS_FOR_SPREAD else float("nan")
    largest = max(error, spread) if np.isfinite(spread) else error
    drift, drift_sigma = _drift(deviations, finite)
    return SeriesStatistics(
        mean=mean,
        error=largest,
        error_autocorrelation=error,
        error_spread=spread,
        variance=variance,
        autocorrelation_time=tau,
        effective_samples=variance / largest**2 if largest > 0 else float(samples),
        r_hat=_split_r_hat(deviations, finite),
        drift=drift,
        drift_sigma=drift_sigma,
        samples=samples,
        non_finite=non_finite,
    )


def _autocorrelation(
    deviations: Float[np.ndarray, "walkers rounds"], finite: Bool[np.ndarray, "walkers rounds"]
) -> tuple[float, float]:
    """Integrated autocorrelation time, and the variance of the mean relative to independent samples."""
    rounds = deviations.shape[1]
    length = 1 << (2 * rounds - 1).bit_length()

    def correlate(x):
        return np.fft.irfft(np.sum(np.abs(np.fft.rfft(x, length, axis=1)) ** 2, axis=0), length)[:rounds]

    pairs = np.round(correlate(finite.astype(np.float64)))
    covariance = correlate(deviations) / np.maximum(pairs, 1)
    if not covariance[0] > 0:
        return 1.0, 1.0
    # The common mean has taken its own variance out of every lag: put it back once.
    _, inflation = _truncated_sums(covariance / covariance[0])
    covariance = covariance + covariance[0] * min(inflation / finite.sum(), 0.5)
    return _truncated_sums(covariance / covariance[0])


def _truncated_sums(rho: Float[np.ndarray, " lags"]) -> tuple[float, float]:
    """1 + 2 Σ ρ, and the same with finite-time weights, truncated by Geyer's initial monotone sequence."""
    lags = len(rho)
    even = lags - lags % 2
    if even < 2:
        return 1.0, 1.0
    pairs = rho[:even].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    kept = int(negative[0]) if len(negative) else len(pairs)
    if kept == 0:
        # Strongly anticorrelated samples: independent is the safe reading.
        return 1.0, 1.0
    pairs = np.minimum.accumulate(pairs[:kept])
    middle = 2 * np.arange(kept) + 0.5
    tau = 2 * pairs.sum() - 1
    weighted = 2 * np.sum(pairs * (1 - middle / lags)) - 1
    # Anticorrelation may shrink the error a little, but never below what a tenth of the samples' noise
    # allows.
    return float(max(tau, 0.1)), float(max(weighted, 0.1))


def _walker_means(deviations, finite):
    counts = finite.sum(axis=1)
    used = counts > 0
    return deviations[used].sum(axis=1) / counts[used], counts[used]


def _spread_of_means(
    deviations: Float[np.ndarray, "walkers rounds"], finite: Bool[np.ndarray, "walkers rounds"]
) -> float:
    means, counts = _walker_means(deviations, finite)
    if len(means) < 2:
        return float("nan")
    weights = counts / counts.sum()
    centre = np.sum(weights * means)
    return float(np.sqrt(np.sum(weights**2 * (means - centre) ** 2) * len(means) / (len(means) - 1)))


def _split_r_hat(deviations: Float[np.ndarray, "walkers rounds"], finite: Bool[np.ndarray, "walkers rounds"]) -> float:
    half = deviations.shape[1] // 2
    if half < 2:
        return float("nan")
    x = np.concatenate([deviations[:, :half], deviations[:, -half:]])
    mask = np.concatenate([finite[:, :half], finite[:, -half:]])
    enough = mask.sum(axis=1) > 1
    if enough.sum() < 2:
        return float("nan")
    x, mask = x[enough], mask[enough]
    counts = mask.sum(axis=1)
    means = x.sum(axis=1) / counts
    variances = np.sum(np.where(mask, x - means[:, None], 0.0) ** 2, axis=1) / (counts - 1)
    within = variances.mean()
    if not within > 0:
        return 1.0 if np.ptp(means) == 0 else float("inf")
    n = counts.mean()
    return float(np.sqrt((n - 1) / n + np.var(means, ddof=1) / within))


def _drift(
    deviations: Float[np.ndarray, "walkers rounds"], finite: Bool[np.ndarray, "walkers rounds"]
) -> tuple[float, float]:
    """Linear change over the whole run, and the same in units of its error from the walkers' own slopes."""
    walkers, rounds = deviations.shape
    if walkers < _WALKERS_FOR_SPREAD or rounds < 4:
        return float("nan"), float("nan")
    time = np.linspace(-0.5, 0.5, rounds)
    slopes = np.sum(deviations * time, axis=1) / np.maximum(np.sum(finite * time**2, axis=1), 1e-12)
    error = float(np.std(slopes, ddof=1) / np.sqrt(walkers))
    drift = float(slopes.mean())
    if not error > 0:
        return drift, 0.0
    # With few walkers their spread is uncertain: a Student t, as the number of normal sigma of the same
    # probability.
    tail = float(stdtr(walkers - 1, -abs(drift / error)))
    return drift, float(np.sign(drift) * -ndtri(max(tail, 1e-300)))
