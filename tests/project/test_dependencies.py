"""What the code imports is declared in pyproject.toml, and nothing is declared that is not imported."""

import ast
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGE = PROJECT["name"]
INSTALLED_FOLDERS = ("nnunet_pix2rep", "trainers", "dataset_conversion")
# Of the extra `test`; nothing imports them.
COMMANDS_AND_PLUGINS = {"ruff", "twine", "mypy", "pre-commit", "pytest-timeout", "pytest-xdist"}
OF_NO_IMPORT = ("test", "docs")  # extras of which the package imports nothing
DISTRIBUTIONS = packages_distributions()
HELPERS_OF_TESTS = {path.stem for path in (ROOT / "tests").rglob("*.py")}


def names_of(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


REQUIRED = names_of(PROJECT["dependencies"])
EXTRAS = {name: names_of(texts) for name, texts in PROJECT["optional-dependencies"].items()}
OF_THE_PACKAGE = REQUIRED.union(*(names for name, names in EXTRAS.items() if name not in OF_NO_IMPORT))
OF_THE_TESTS = OF_THE_PACKAGE | EXTRAS["test"]


def imported_modules(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@cache
def third_party_imports(path, outside_functions):
    """Top-level names of what a file imports, without the standard library's and the project's own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)} if outside_functions else set()
    names = {name.partition(".")[0] for name in imported_modules(set(ast.walk(tree)) - inside)}
    return names - set(sys.stdlib_module_names) - HELPERS_OF_TESTS - {PACKAGE}


def distributions_of(module):
    """Canonical names of the distributions that install a module; of one that is not installed, its own name."""
    return {canonicalize_name(name) for name in DISTRIBUTIONS.get(module, [module])}


def undeclared(folder, declared, outside_functions=False):
    """File -> the imports in it that no declared distribution provides."""
    files = {
        str(path.relative_to(ROOT)): [
            name
            for name in sorted(third_party_imports(path, outside_functions))
            if not distributions_of(name) & declared
        ]
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    return {path: names for path, names in files.items() if names}


@pytest.mark.parametrize("folder", INSTALLED_FOLDERS)
def test_every_import_of_the_package_is_declared(folder):
    assert undeclared(folder, OF_THE_PACKAGE) == {}


@pytest.mark.parametrize("folder", INSTALLED_FOLDERS)
def test_no_module_needs_an_extra_to_be_imported(folder):
    assert undeclared(folder, REQUIRED, outside_functions=True) == {}


def test_every_import_of_the_tests_is_declared():
    assert undeclared("tests", OF_THE_TESTS) == {}


def test_nothing_is_declared_that_nothing_imports():
    files = [path for folder in (*INSTALLED_FOLDERS, "tests") for path in (ROOT / folder).rglob("*.py")]
    modules = set().union(*(third_party_imports(path, outside_functions=False) for path in files))
    used = set().union(*(distributions_of(module) for module in modules))
    assert OF_THE_TESTS - {canonicalize_name(PACKAGE)} - COMMANDS_AND_PLUGINS <= used
