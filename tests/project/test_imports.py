"""The package's own modules are read as source, so nothing has to be imported for these tests."""

import ast
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "nnunet_pix2rep"
# Parts of the package from the top down: each imports from its own level and those below.
LEVELS = (
    {"cli"},
    {"benchmark", "demo", "doctor", "speed"},
    {"annotation"},
    {"nnunet"},
    {"pretraining", "views", "masked_autoencoder"},
    {"feature_pictures", "nearest_neighbors"},
    {"losses", "sampling", "geometry", "diagnostics", "projection_head"},
    {"config", "installation", "devices"},
    {"files"},
    {"errors"},
)
# The same inside the packages that are large enough to have floors of their own.
FLOORS = {
    "nnunet": (
        {"training.finetuning"},
        {"training.pretraining", "in_context"},
        {"training", "features"},
        {"loading", "checkpoints"},
        {"networks", "unlabeled"},
        {"plans", "patients"},
        {"data", "environment", "random_state", "subprocesses", "worker_processes"},
    ),
    "annotation": (
        {"start", "suggest", "collect"},
        {"work_folder", "label_files", "image_copies", "selectors"},
        {"slices"},
    ),
    "benchmark": ({"launch"}, {"report"}, {"execution"}, {"design"}, {"schema"}),
}
LEVEL_OF = {part: level for level, parts in enumerate(LEVELS) for part in parts}
MOST_FILES = 15
TRAINERS = sorted(path for path in (ROOT / "trainers").glob("*.py") if path.name != "__init__.py")


def modules_of(folder, name):
    """Dotted name -> source file of every module below a folder that is installed under the given name."""
    return {
        ".".join([name, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in sorted(folder.rglob("*.py"))
    }


MODULES = modules_of(ROOT / PACKAGE, PACKAGE)
OUTSIDE = modules_of(ROOT / "trainers", f"{PACKAGE}.trainers") | modules_of(
    ROOT / "dataset_conversion", f"{PACKAGE}.dataset_conversion"
)


@cache
def imports_of(path):
    """Dotted names that a file imports, wherever in it; ``from a import b`` gives ``a`` and ``a.b``."""
    found, relative = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            relative.add(node.lineno)
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    assert not relative, f"{path} has relative imports in lines {sorted(relative)}"
    return frozenset(found)


def part_of(module):
    """The first name below the package: ``nnunet_pix2rep.losses.info_nce`` is of the part ``losses``."""
    return module.split(".")[1]


def imports_within_the_package():
    """Pairs of a module and one that it imports."""
    modules = [module for module in MODULES if module != PACKAGE]
    return [(module, other) for module in modules for other in imports_of(MODULES[module]) & {*modules}]


def test_every_part_has_a_level():
    assert {part_of(module) for module in MODULES if module != PACKAGE} == LEVEL_OF.keys()


def test_imports_run_one_way():
    pairs = imports_within_the_package()
    assert len(pairs) > 500
    assert [pair for pair in pairs if LEVEL_OF[part_of(pair[1])] < LEVEL_OF[part_of(pair[0])]] == []


def floor_of(module):
    """Number of the floor on which a module lies within its part, counted from the top; None: the part has none."""
    _, part, *inside = module.split(".")
    if part not in FLOORS or not inside:
        return None
    levels = {place: level for level, places in enumerate(FLOORS[part]) for place in places}
    found = [levels[place] for place in (".".join(inside[:2]), inside[0]) if place in levels]
    assert found, f"{module} has no place in FLOORS"
    return found[0]


@pytest.mark.parametrize("part", FLOORS)
def test_imports_run_one_way_within_a_part(part):
    pairs = [pair for pair in imports_within_the_package() if part_of(pair[0]) == part_of(pair[1]) == part]
    floors = {pair: (floor_of(pair[0]), floor_of(pair[1])) for pair in pairs}
    assert any(None not in pair for pair in floors.values())
    assert [pair for pair, (own, other) in floors.items() if None not in (own, other) and other < own] == []


def test_a_folder_has_no_more_files_than_one_can_take_in():
    files = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert {folder: count for folder, count in files.items() if count > MOST_FILES} == {}


def test_no_modules_import_each_other_in_a_circle():
    """Those for types alone count too."""
    graph = {module: imports_of(path) & MODULES.keys() - {module, PACKAGE} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_nothing_imports_a_trainer():
    names = {f"{PACKAGE}.trainers", "trainers", *(trainer.stem for trainer in TRAINERS)}
    pairs = [(module, imported) for module, path in (MODULES | OUTSIDE).items() for imported in imports_of(path)]
    assert [pair for pair in pairs if pair[1] in names or pair[1].split(".")[0] in names] == []


@pytest.mark.parametrize("part", ["config", "files", "errors", "geometry", "losses", "sampling", "pretraining"])
def test_the_core_knows_nothing_of_nnunet(part):
    for module, path in MODULES.items():
        if module != PACKAGE and part_of(module) == part:
            assert not {imported for imported in imports_of(path) if imported.split(".")[0] == "nnunetv2"}
