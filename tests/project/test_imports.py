"""The package's own modules are read as source, so nothing has to be imported for these tests."""

import ast
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
        {"data", "random_state", "subprocesses", "worker_processes"},
    ),
    "annotation": ({"start", "suggest", "collect"}, {"work_folder", "label_files", "selectors"}, {"slices"}),
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
    return found


def part_of(module):
    """The first name below the package: ``nnunet_pix2rep.losses.info_nce`` is of the part ``losses``."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", [module for module in MODULES if module != PACKAGE])
def test_imports_run_one_way(module):
    assert part_of(module) in LEVEL_OF, f"{part_of(module)} has no place in LEVELS"
    for imported in imports_of(MODULES[module]) & MODULES.keys() - {PACKAGE}:
        assert LEVEL_OF[part_of(imported)] >= LEVEL_OF[part_of(module)], f"{module} imports {imported}"


def floor_of(module):
    """Number of the floor on which a module lies within its part, counted from the top; None: the part has none."""
    _, part, *inside = module.split(".")
    if part not in FLOORS or not inside:
        return None
    levels = {place: level for level, places in enumerate(FLOORS[part]) for place in places}
    found = [levels[place] for place in (".".join(inside[:2]), inside[0]) if place in levels]
    assert found, f"{module} has no place in FLOORS"
    return found[0]


@pytest.mark.parametrize("module", [module for module in MODULES if module != PACKAGE])
def test_imports_run_one_way_within_a_part(module):
    own = floor_of(module)
    if own is None:
        return
    for imported in imports_of(MODULES[module]) & MODULES.keys() - {PACKAGE}:
        if part_of(imported) == part_of(module) and floor_of(imported) is not None:
            assert floor_of(imported) >= own, f"{module} imports {imported}"


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=str)
def test_a_folder_has_no_more_files_than_one_can_take_in(folder):
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_FILES


def test_no_modules_import_each_other_in_a_circle():
    """Those for types alone count too."""
    graph = {module: imports_of(path) & MODULES.keys() - {module, PACKAGE} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [*MODULES, *OUTSIDE])
def test_nothing_imports_a_trainer(module):
    path = (MODULES | OUTSIDE)[module]
    names = {f"{PACKAGE}.trainers", "trainers", *(trainer.stem for trainer in TRAINERS)}
    assert not {imported for imported in imports_of(path) if imported in names or imported.split(".")[0] in names}


@pytest.mark.parametrize("part", ["config", "files", "errors", "geometry", "losses", "sampling", "pretraining"])
def test_the_core_knows_nothing_of_nnunet(part):
    for module, path in MODULES.items():
        if module != PACKAGE and part_of(module) == part:
            assert not {imported for imported in imports_of(path) if imported.split(".")[0] == "nnunetv2"}
