"""A little of `tests/fuzz.py` in every run of the tests."""

from itertools import islice
from pathlib import Path

import pytest
from fuzz import KINDS, Kind, damaged

COUNTS = {"report": 40, "crafted checkpoint": 100}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_file_is_a_value_or_one_clear_error(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for data, wrong in islice(damaged(kind, 0, tmp_path), COUNTS.get(kind.name, 300)):
        assert not wrong, f"{wrong}; the first bytes are {data[:60]!r}"
