"""What a message tells to type can be typed: from a clone, and where a wheel was installed."""

import shlex
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import spavl
from spavl.errors import how_to_install
from tests.support.repository import ROOT


def test_from_a_clone_it_is_the_clones_own_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    _, _, pip, install, *rest = shlex.split(how_to_install("hf"))
    assert (pip, install, rest) == ("pip", "install", ["-c", "constraints.txt", "-e", ".[hf]"])
    monkeypatch.chdir(tmp_path)
    assert str(ROOT / "constraints.txt") in how_to_install("hf")


@pytest.mark.parametrize(("extra", "packages"), [("hf", {"torch", "peft"}), ("search", {"torch", "usearch"})])
def test_of_a_wheel_it_names_the_packages_themselves(tmp_path: Path, extra: str, packages: set[str]) -> None:
    (tmp_path / "spavl").mkdir()
    for name in ("errors.py", "__init__.py"):
        (tmp_path / "spavl" / name).write_text((Path(spavl.__file__).parent / name).read_text())
    about = distribution("spavl").read_text("METADATA") or distribution("spavl").read_text("PKG-INFO") or ""
    (tmp_path / "spavl-0.1.0.dist-info").mkdir()
    (tmp_path / "spavl-0.1.0.dist-info" / "METADATA").write_text(about)
    code = f"from spavl.errors import how_to_install; print(how_to_install({extra!r}))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    words = shlex.split(told.stdout)
    assert words[1:4] == ["-m", "pip", "install"], told.stderr
    assert packages <= {word.partition("=")[0].partition("<")[0].partition(">")[0] for word in words[4:]}
    assert "spavl" not in told.stdout.partition("install")[2]
