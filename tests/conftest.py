"""Strict numerics for every test: float64, no silent promotion, four forced CPU devices."""

import os

# Most of a test's time is compilation; the numbers are the same without optimisation.
os.environ["NPROC"] = "32"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Thousands of small programs would fill the memory."""
    yield
    jax.clear_caches()
