"""The examples in docstrings give what they say, and what a package exports is there."""

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "nnunet_pix2rep"


def module_names(paths):
    parts = (path.relative_to(PACKAGE.parent).with_suffix("").parts for path in sorted(paths))
    return [".".join(part for part in names if part != "__init__") for names in parts]


def holding(text):
    return module_names(path for path in PACKAGE.rglob("*.py") if text in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", holding(">>> "))
def test_the_examples_of_a_module_are_right(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", holding("__all__ = "))
def test_what_a_package_exports_is_there_and_no_name_of_its_modules_is_hidden(name):
    package = importlib.import_module(name)
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
    assert [exported for exported in package.__all__ if not hasattr(package, exported)] == []
    assert modules.isdisjoint(package.__all__)
