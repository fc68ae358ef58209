"""Every module imports, and its examples are true."""

from __future__ import annotations

import doctest
import importlib
import tomllib
from pathlib import Path

import pytest

import nuadapt

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "nuadapt"
MODULES = sorted(
    ".".join(("nuadapt", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for p in PACKAGE.rglob("*.py")
    if p.name != "__main__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_and_its_examples_hold(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_version_is_that_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert nuadapt.__version__ == project["version"]


def test_lock_pins_every_requirement() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for pin in pins:
        assert len(pin.specifier) == 1, f"{pin.name} is not pinned to one version"
        assert next(iter(pin.specifier)).operator == "=="
        assert pin.url is None
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    assert len(versions) == len(pins)
    assert versions["torch"] == "2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # The XRootD library is in nobody's environment but of those who ask for it.
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != "xrootd"]
    wanted = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    for want in wanted:
        if want.name != "nuadapt":
            pinned = versions[canonicalize_name(want.name)]
            assert want.specifier.contains(pinned), f"{want} but the lock has {pinned}"
