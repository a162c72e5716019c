"""Settings of optimisers, checked where they are given."""

import math
from typing import Any


def check_positive(**settings: Any) -> None:
    """Refuse settings that are not positive numbers; functions, whose values nobody knows, pass.

    **Raises:** `ValueError` that names the first one.
    """
    for name, value in settings.items():
        # Not `value <= 0`, which is false of NaN.
        if not callable(value) and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, got {value}")
