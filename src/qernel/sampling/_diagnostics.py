"""How far the walkers' time series may be trusted."""

import numpy as np
from jaxtyping import Float


def effective_samples(series: Float[np.ndarray, "walkers steps"]) -> float:
    """Effective number of independent samples in parallel chains (BlackJAX, Stan's estimator)."""
    # Importing BlackJAX starts a backend, which importing qernel must not do.
    import blackjax.diagnostics

    return float(blackjax.diagnostics.effective_sample_size(np.asarray(series), chain_axis=0, sample_axis=1))


def r_hat(series: Float[np.ndarray, "walkers steps"]) -> float:
    """Gelman-Rubin ratio of between-chain to within-chain variance; 1 when the chains agree."""
    import blackjax.diagnostics

    return float(blackjax.diagnostics.potential_scale_reduction(np.asarray(series), chain_axis=0, sample_axis=1))
