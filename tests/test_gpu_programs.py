"""The programs of a training step, compiled for a GPU that is not there."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def count(text):
    spec = importlib.util.spec_from_file_location("gpu_programs", BENCHMARKS / "gpu_programs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.count(text)


PROGRAM = """
HloModule jit_f

%body (p: (s64[], f32[4])) -> (s64[], f32[4]) {
  %p = (s64[], f32[4]) parameter(0)
  %i = s64[] get-tuple-element(%p), index=0
  %x = f32[4]{0} get-tuple-element(%p), index=1
  %next = s64[] fusion(%i), kind=kLoop, calls=%add
  %y = (f32[4]{0}, s8[16]{0}) custom-call(%x), custom_call_target="__cublas$lt$matmul"
  %z = f32[4]{0} get-tuple-element(%y), index=0
  ROOT %t = (s64[], f32[4]) tuple(%next, %z)
}

%condition (p: (s64[], f32[4])) -> pred[] {
  %p = (s64[], f32[4]) parameter(0)
  %i = s64[] get-tuple-element(%p), index=0
  ROOT %less = pred[] fusion(%i), kind=kLoop, calls=%compare
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %zero = s64[] constant(0)
  %t = (s64[], f32[4]) tuple(%zero, %a)
  %w = (s64[], f32[4]) while(%t), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %b = f32[4]{0} get-tuple-element(%w), index=1
  ROOT %c = f32[4]{0} copy(%b)
}
"""


def test_kernels_in_a_loop_count_as_often_as_they_run():
    launches, calls = count(PROGRAM)
    assert launches == 5 * 2 + 6 + 1 and calls == {"__cublas$lt$matmul": 5}


def test_programs_of_the_compiler_here_can_be_read():
    """As it writes them today: a loop of seven turns has seven times the kernels of its body."""

    def turns(number):
        step = lambda x, _: (jnp.sin(x @ x) + 1, None)
        program = jax.jit(lambda x: jax.lax.scan(step, x, None, number)[0]).lower(jnp.eye(8)).compile()
        return count(program.as_text())[0]

    kernels = (turns(16) - turns(8)) / 8
    assert kernels >= 1 and turns(70) == turns(8) + 62 * kernels


def plugin_is_installed():
    names = [f"jax_plugins.xla_cuda{version}" for version in (12, 13)]
    return importlib.util.find_spec("jax_plugins") is not None and any(map(importlib.util.find_spec, names))


@pytest.mark.skipif(not plugin_is_installed(), reason="JAX's plugin for CUDA is not installed")
def test_no_program_calls_what_a_gpu_has_not():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu_programs.py", "trap-3"], capture_output=True, text=True, check=True
    )
    calls = {word for line in done.stdout.splitlines() for word in line.split() if "$" in word or "_" in word}
    assert calls and all(call.strip(",").startswith(("__cublas", "cusolver", "__cub", "cu_")) for call in calls)
    assert "callback" not in done.stdout
