"""Which configurations take an exact Laplacian, and which one from random directions."""

from ._config import EvaluationConfig, TrainingConfig

# Electrons from which the random directions pay: the more there are, the less noise and the more saved.
_PROBED_TRAINING, _PROBED_EVALUATION = 16, 32


def colours_of(section: TrainingConfig | EvaluationConfig, electrons: int) -> int | None:
    """Colours of a probed Laplacian in the training or the evaluation of so many electrons; None: the exact one."""
    many = electrons >= (_PROBED_TRAINING if isinstance(section, TrainingConfig) else _PROBED_EVALUATION)
    probed = many if section.laplacian == "auto" else section.laplacian == "probed"
    return section.colours if probed else None
