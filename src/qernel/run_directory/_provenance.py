"""With what a run was made."""

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from ._named_arrays import digest

PACKAGES = (
    "qernel",
    "jax",
    "jaxlib",
    "equinox",
    "optax",
    "blackjax",
    "folx",
    "orbax-checkpoint",
    "numpy",
    "scipy",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def provenance(command: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.toml` records beside the configuration; `identity` says which model it is, in plain data."""
    import jax

    devices = jax.devices()
    return {
        "command": command,
        "model": digest(identity),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "devices": [f"{d.platform} {getattr(d, 'device_kind', '')}".strip() for d in devices],
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
    }
