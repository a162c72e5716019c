"""Strict numerics for every test: float64, no silent promotion, four forced CPU devices."""

import atexit
import mmap
import os
import shutil
import tempfile
from pathlib import Path

import jaxlib


def compiler_knows(flag):
    """Whether XLA has this flag: one that it does not know ends the process."""
    for library in Path(jaxlib.__file__).parent.glob("*.so"):
        with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text.find(flag.encode()) >= 0:
                return True
    return False


# Most of a test's time is compilation; the numbers are the same without optimisation. XLA's older code generator
# is a third faster.
os.environ["NPROC"] = "32"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
if compiler_knows("xla_cpu_use_fusion_emitters"):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

# Many tests run the command line on the same small problem, in processes of their own: one of them compiles for all.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="qernel-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# Files that take minutes, longest first: were they last, one of two processes would wait for the other.
LONGEST = """ansatz phases hosts processes gradient transition cli examples scaling no_deadlock precision exact chunks
hartree_fock numerical runs transfer ablation sampling directories checkpoint_files sample_observables sharding kfac
report layers training health structure input observables configurations trap""".split()


def pytest_collection_modifyitems(items):
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Thousands of small programs would fill the memory."""
    yield
    jax.clear_caches()
