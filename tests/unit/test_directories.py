"""Where files live: the same places as platformdirs, without its price."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from krakenws import directories

VARIABLES = {
    "XDG_CONFIG_HOME": (directories.config_dir, platformdirs.user_config_dir),
    "XDG_STATE_HOME": (directories.state_dir, platformdirs.user_state_dir),
    "XDG_CACHE_HOME": (directories.cache_dir, platformdirs.user_cache_dir),
}


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("value", [None, "", "relative/place", "/absolute/place", "/with/slash/"])
@pytest.mark.parametrize("home", ["/home/someone", "", "relative", None])
def test_the_places_are_those_of_platformdirs(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None, home: str | None
) -> None:
    for name, text in ((variable, value), ("HOME", home)):
        if text is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, text)
    ours, theirs = VARIABLES[variable]
    assert ours() == theirs("krakenws", appauthor=False)
    assert ours().endswith("krakenws")


def test_elsewhere_than_on_linux_platformdirs_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platformdirs, "user_state_dir", lambda name, appauthor: f"/Library/{name}")
    assert directories.state_dir() == "/Library/krakenws"


def test_platformdirs_is_not_loaded_on_linux() -> None:
    code = (
        "import sys; from krakenws import directories as d; d.config_dir(), d.state_dir(), d.cache_dir();"
        "sys.exit(sys.platform == 'linux' and 'platformdirs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], env=_environment(), check=False).returncode == 0


def _environment() -> dict[str, str]:
    source = str(Path(directories.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source}


def test_a_user_without_name_and_home_lives_in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """As container runtimes have it."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert directories.state_dir() == "/.local/state/krakenws"


def test_a_file_is_replaced_whole_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o644)
    directories.replace_file(str(path), "after")
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        directories.replace_file(str(path), "after \ud800")
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError):
        directories.replace_file(str(tmp_path / "directory"), "after")
    assert path.read_text() == "before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["directory", "file"]
