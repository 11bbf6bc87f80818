"""Files from strangers are data: they set what they may, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_cli import transfer

import styletutor as st
from styletutor.cli import main
from styletutor.pictures.writing import check_apart
from styletutor.runs.checkpoints import read_checkpoint

AGAIN = ["transfer", "--settings", "evil.json", "--output", "out.png"]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """One that can be repeated, in a folder of its own, beside a file that is dear to somebody."""
    monkeypatch.chdir(tmp_path)
    Path("dear.txt").write_text("dear")
    assert main([*transfer(Path("a.png")), "--evaluations", "2", "--report", "a.json"]) == 0
    Path("a.png").unlink()
    return json.loads(Path("a.json").read_text())


def repeat(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a report that is refused; nothing but it is written."""
    Path("evil.json").write_text(json.dumps(report))
    before = {path: path.read_bytes() for path in Path().iterdir()}
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        raise SystemExit(main(AGAIN))
    assert end.value.code == 2
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    said = capsys.readouterr().err
    assert said.startswith("styletutor: error: ") and said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    "name",
    ["report", "checkpoint", "timelapse", "checkpoint_output", "output", "resume", "settings",
     "progress_write", "overwrite", "frames", "print_iterations", "run", "parser", "device"],
)  # fmt: skip
def test_a_report_sets_what_makes_a_picture_and_no_file_to_write(
    name: str, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report["settings"][name] = "dear.txt"
    assert f"evil.json sets '{name}', which is no setting" in repeat(report, capsys)


@pytest.mark.parametrize(
    "settings",
    [
        {"styles": ["coins", "--report=dear.txt"]},
        {"styles": ["--report", "dear.txt"]},
        {"masks": ["--checkpoint=dear.txt"]},
        {"style_layers": {"--report": "dear.txt"}},
        {"content_layers": ["--timelapse=dear.txt"]},
        {"style_at": {"--report": "dear.txt"}},
        {"size": "32 --report=dear.txt"},
        {"start": "--report=dear.txt"},
        {"recipe": "--report=dear.txt"},
        {"blend": ["--report=dear.txt"]},
    ],
)
def test_a_value_in_a_report_is_never_an_option(
    settings: dict[str, Any], report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report["settings"] |= settings
    repeat(report, capsys)


def test_names_that_begin_like_options_are_repeated(report: dict[str, Any]) -> None:
    for name in ("--photo.png", "-art.png"):
        st.save_image(st.load_image("coins", 40), f"./{name}")
    words = ["transfer", "--content=--photo.png", "--styles=-art.png", "--output", "b.png"]
    more = ["--weights", "pocket", "--size", "40", "--evaluations", "2", "--report", "b.json"]
    assert main([*words, *more]) == 0
    assert main(["transfer", "--settings", "b.json", "--output", "c.png"]) == 0
    assert Path("b.png").read_bytes() == Path("c.png").read_bytes()


# --- what people type


def test_the_package_can_be_run_as_a_module() -> None:
    words = [sys.executable, "-m", "styletutor", "--version"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"styletutor {st.__version__}\n")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of a process of its own")
def test_ctrl_c_during_the_imports_shows_no_traceback() -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "import runpy, sys; sys.argv = ['-m']; sys.orig_argv = ['-m', 'styletutor']; "
    code += "runpy.run_module('styletutor', run_name='__main__')"
    words = [sys.executable, "-X", "importtime", "-c", code, "layers"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert any("torch._utils" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode in (-signal.SIGINT, 130)  # a shell calls both of them 130
    assert "Traceback" not in said and "KeyboardInterrupt" not in said


def test_an_error_is_one_line_whatever_a_file_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "no\nsuch\x1b[31m\rfile.png"
    words = [*transfer(tmp_path / "out.png"), "--content", name]
    assert main(words) == 2
    with pytest.raises(SystemExit):
        main([*words, name])
    said = capsys.readouterr().err
    assert said.count("styletutor: error: ") == said.count("\n") == 2
    assert "\x1b" not in said and "\r" not in said


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_file_without_an_end_is_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["transfer", "--output", str(tmp_path / "out.png"), "--settings", "/dev/zero"]
    assert main(words) == 2
    assert "/dev/zero is not a report of styletutor" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="there it would take the room")
def test_sizes_are_looked_at_before_anything_is_read(tmp_path: Path) -> None:
    """A hundred gigabytes that take no room."""
    for name in ("w.pth", "run"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(10**11)
    with pytest.raises(ValueError, match=r"w.pth: it has 100.0 GB, expected at most 2.1"):
        st.load_vgg(tmp_path / "w.pth")
    with pytest.raises(ValueError, match="run is damaged or no checkpoint"):
        read_checkpoint(tmp_path / "run")


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    st.save_image(st.load_image("coins", 40), "~/coins.png")
    assert (tmp_path / "coins.png").is_file()
    assert st.load_image("~/coins.png").shape == st.load_image(Path("~/coins.png")).shape
    with pytest.raises(FileNotFoundError, match="neither a sample nor a file"):
        st.load_image("~nobody-of-this-name/coins.png")
    with pytest.raises(FileNotFoundError, match="no such file"):
        st.load_vgg("~nobody-of-this-name/x.pth")
    with pytest.raises(ValueError, match="overwrite the input"):
        check_apart(["~/coins.png"], [tmp_path / "coins.png"])
    made = [*transfer(tmp_path / "a.png"), "--report", "~/a.json", "--checkpoint", "~/run"]
    assert main(made) == 0
    for how in ("--settings=~/a.json", "--resume=~/run"):
        assert main(["transfer", how, "--output", "~/b.png"]) == 0
        assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()
