"""The studio's page, built once for all tests that open it; a fixture."""

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def build() -> Any:
    """docs/page/build.py, with what npm brings."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    spec = importlib.util.spec_from_file_location("page_build", ROOT / "docs/page/build.py")
    module = sys.modules["page_build"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.install()
    except SystemExit as error:
        pytest.skip(f"npm's packages cannot be had here; `make page` gets them: {error}")
    return module


@pytest.fixture(scope="session")
def page_folder(build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make page` writes."""
    folder = tmp_path_factory.mktemp("page")
    build.main(folder)
    return folder
