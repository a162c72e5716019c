"""Threads for several CPU devices in one process."""

import os
import re
from collections.abc import MutableMapping


def widen_pool(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let JAX, which has not started, have more threads than forced CPU devices.

    Each device waits in a thread of the common pool while others factorise its matrices: where there are no others, the
    wait has no end.
    """
    forced = re.findall(r"xla_force_host_platform_device_count=(\d+)", environment.get("XLA_FLAGS", ""))
    devices = int(forced[-1]) if forced else int(environment.get("JAX_NUM_CPU_DEVICES") or 1)
    if devices > 1:
        environment.setdefault("NPROC", str(devices + (os.cpu_count() or 1)))
