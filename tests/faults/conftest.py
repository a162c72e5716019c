"""A training that nothing disturbed, with which those that were disturbed are compared."""

import time

import pytest
from real_processes import PROBLEMS, TRIALS, begin


@pytest.fixture(scope="session", params=PROBLEMS if TRIALS else ["separate"])
def uninterrupted(request, tmp_path_factory):
    """The kind of the problem, the directory of a run of it that nothing disturbed, and the seconds it took."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    process = begin(out, request.param)
    _, said = process.communicate()
    assert process.returncode == 0, said
    if not TRIALS:
        return request.param, out, None
    # Again, as the trials are: compiled.
    start = time.monotonic()
    begin(out.with_name("again"), request.param).communicate()
    return request.param, out, time.monotonic() - start
