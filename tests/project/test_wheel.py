"""What is published: a source archive and a wheel with all that is needed, which install without the checkout."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import nnunet_pix2rep

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NEEDED_TO_BUILD = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md")
INSTALLED_AS = {
    "nnunet_pix2rep": "nnunet_pix2rep",
    "trainers": "nnunet_pix2rep/trainers",
    "dataset_conversion": "nnunet_pix2rep/dataset_conversion",
}
BUILD = "from setuptools import build_meta; build_meta.build_{}({!r})"
REPOSITORY = "https://example.org/group/nnunet_pix2rep"
LINK = re.compile(r"\]\(([^)]+)\)")


def package_files(folder):
    """Files of a folder, without what Python and editors leave there."""
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def run(*command, folder=None):
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Source archive and wheel, built from a copy: setuptools writes a build folder and metadata beside the sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("archives")
    for name in NEEDED_TO_BUILD:
        shutil.copy(ROOT / name, source)
    for folder in INSTALLED_AS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    project = (source / "pyproject.toml").read_text(encoding="utf-8")
    named = project.replace("[project.urls]\n", f'[project.urls]\nRepository = "{REPOSITORY}"\n')
    assert named != project
    (source / "pyproject.toml").write_text(named, encoding="utf-8")
    for kind in ("sdist", "wheel"):
        run(sys.executable, "-c", BUILD.format(kind, str(target)), folder=source)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def files_of_repository(places):
    """Names of all files of the package, each folder in its place."""
    return {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in places.items()
        for path in package_files(ROOT / folder)
    }


def test_the_wheel_holds_what_the_repository_holds(archives):
    with zipfile.ZipFile(archives["wheel"]) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files == files_of_repository(INSTALLED_AS)
    assert "nnunet_pix2rep/py.typed" in files


def test_the_source_archive_holds_what_the_wheel_is_built_from(archives):
    with tarfile.open(archives["sdist"]) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert files_of_repository({folder: folder for folder in INSTALLED_AS}) | set(NEEDED_TO_BUILD) <= files


def test_the_version_is_that_of_the_package_and_of_the_citation(archives):
    assert metadata(archives["wheel"])["Version"] == nnunet_pix2rep.__version__
    assert f"\nversion: {nnunet_pix2rep.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_page_on_pypi_renders_and_leads_to_the_files_of_this_version(archives):
    run(sys.executable, "-m", "twine", "check", "--strict", archives["sdist"], archives["wheel"])
    page = metadata(archives["wheel"]).get_payload()
    links = [target for target in LINK.findall(page) if not target.startswith("#")]
    assert [target for target in links if not target.startswith("https://")] == []
    tag = f"v{nnunet_pix2rep.__version__}"
    assert f"{REPOSITORY}/raw/{tag}/docs/explanation/pictures/method.png" in links
    assert f"{REPOSITORY}/blob/{tag}/CITATION.cff" in links


@pytest.fixture(params=["sdist", "wheel"])
def installed(request, archives, tmp_path):
    """Python of an environment that has this one's packages behind its own, and so no checkout before them."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "environment")
    folder = tmp_path / "environment"
    (own,) = folder.glob("lib/python*/site-packages")
    packages = [path for path in sys.path if Path(path).name == "site-packages"]
    (own / "behind.pth").write_text("\n".join(packages), encoding="utf-8")
    install = ("install", "--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed")
    run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", *install, archives[request.param])
    return folder, own


def test_it_installs_without_the_checkout(installed, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    folder, own = installed
    command = folder / "bin" / "nnunet_pix2rep"
    assert "new_dataset" in run(command, "--help", folder=tmp_path)
    trainers = Path(run(command, "trainers", folder=tmp_path).strip())
    assert trainers == (own / "nnunet_pix2rep" / "trainers").resolve()
    assert {path.name for path in (ROOT / "trainers").glob("*.py")} <= {path.name for path in trainers.iterdir()}
    finds = "from nnunetv2.utilities.find_class_by_name import recursive_find_python_class as find; import sys; "
    finds += "print(find(sys.argv[1], 'nnUNetTrainerPix2RepV2', 'nnunet_pix2rep.trainers').__module__)"
    assert "nnunet_pix2rep.trainers" in run(folder / "bin" / "python", "-c", finds, trainers, folder=tmp_path)
