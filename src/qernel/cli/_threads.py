"""Threads for several CPU devices in one process."""

import os
import re
from collections.abc import MutableMapping


def widen_pool(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let JAX, which has not started, have eight threads for each forced CPU device.

    A device waits in threads of the common pool, for its matrices to be factorised and for what it exchanges with the
    other devices: where all threads wait, the wait has no end.
    """
    forced = re.findall(r"xla_force_host_platform_device_count=(\d+)", environment.get("XLA_FLAGS", ""))
    named = forced[-1] if forced else environment.get("JAX_NUM_CPU_DEVICES", "")
    # JAX says what is wrong with a number that is none.
    devices = int(named) if named.isdecimal() and len(named) < 10 else 1
    if devices > 1:
        environment.setdefault("NPROC", str(8 * devices))
