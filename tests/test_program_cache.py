"""Where the command keeps compiled programs."""

import io

import jax
import pytest
from rich.console import Console

from qernel.cli import _program_cache
from qernel.cli._program_cache import keep_programs, user_programs

NAMES = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size", "jax_enable_compilation_cache")
NAMES += ("jax_persistent_cache_min_compile_time_secs",)


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A user's cache folder, and JAX as it is when nobody has told it anything."""
    before = {name: getattr(jax.config, name) for name in NAMES}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(_program_cache.platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def kept(where):
    said = Console(file=io.StringIO(), width=500)
    keep_programs(where, said)
    return said.file.getvalue()


def test_the_users_folder_is_the_default_and_is_said_once(home):
    said = kept(None)
    assert str(user_programs()) in said and "--compilation-cache off" in said and user_programs().is_dir()
    assert jax.config.jax_compilation_cache_dir == str(user_programs())
    assert 0 < jax.config.jax_compilation_cache_max_size < 2**40
    jax.config.update("jax_compilation_cache_dir", None)
    assert kept(None) == "" and jax.config.jax_compilation_cache_dir == str(user_programs())


def test_what_the_user_says_goes_first(home):
    assert kept(str(home / "mine")) == "" and jax.config.jax_compilation_cache_dir == str(home / "mine")
    # The environment of JAX has named a folder.
    assert kept(None) == "" and jax.config.jax_compilation_cache_dir == str(home / "mine")
    assert kept("off") == "" and not jax.config.jax_enable_compilation_cache
    jax.config.update("jax_compilation_cache_dir", None)
    assert kept(None) == "" and jax.config.jax_compilation_cache_dir is None


def test_a_home_that_cannot_be_written_to_stops_nothing(home, monkeypatch):
    (home / "cache").write_text("a file where a folder should be")
    assert kept(None) == "" and jax.config.jax_compilation_cache_dir is None


def test_processors_that_differ_have_folders_of_their_own(home, monkeypatch):
    monkeypatch.setattr(_program_cache, "_processor", lambda: "flags: avx512f")
    first = user_programs()
    monkeypatch.setattr(_program_cache, "_processor", lambda: "flags: avx2")
    assert user_programs() != first and user_programs().parent == first.parent
