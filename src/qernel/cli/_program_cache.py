"""Compiled programs, kept between commands."""

import hashlib
import os
import platform
from pathlib import Path

import platformdirs
from rich.console import Console

# Bytes that the programs of the user's cache folder may take; what was not used for longest goes first.
_LARGEST = 2**31
_OFF = "off"


def keep_programs(where: str | None, console: Console) -> None:
    """Compile a program once: read it from a folder, where an earlier command left it, and leave it there.

    **Arguments:** `where`, a folder, "off", or None: the folder that JAX has been told in its environment, else one of
    the user's cache; `console`, told once, when that folder is made.
    """
    import jax

    if where == _OFF:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    told = jax.config.values
    if where is None and (told["jax_compilation_cache_dir"] or not told["jax_enable_compilation_cache"]):
        return
    if where is not None:
        folder = Path(where).resolve()
    else:
        folder = user_programs()
        jax.config.update("jax_compilation_cache_max_size", _LARGEST)
        if not folder.exists():
            try:
                folder.mkdir(parents=True)
            except OSError:
                # A home that cannot be written to is no reason not to compute.
                return
            console.print(f"compiled programs are kept in {folder} (--compilation-cache off: they are not)")
        elif not os.access(folder, os.W_OK):
            return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def user_programs() -> Path:
    """The folder of the user's cache for programs that this kind of processor can run: homes are shared."""
    kind = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return platformdirs.user_cache_path("qernel") / "programs" / f"{platform.machine()}-{kind}"


def _processor() -> str:
    """What tells processors apart that cannot run one another's programs."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
