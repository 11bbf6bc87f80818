"""A picture that was painted is never lost: whoever stops listening, wherever the room ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from test_cli import in_a_process, refused, transfer

import styletutor as st
from styletutor.cli import main
from styletutor.cli.telling import save_somewhere
from styletutor.descent import Step

posix = pytest.mark.skipif(os.name == "nt", reason="pipes, signals and descriptors of Unix")
FULL = Path("/dev/full")


def is_whole(picture: Path) -> bool:
    return st.load_image(picture).shape == (1, 3, 48, 48)


def started(out: Path, *more: str) -> subprocess.Popen:
    """A long run that says one line per evaluation; some shells and nohup have signals ignored."""
    code = (
        "import signal\n"
        "for name in ('SIGTERM', 'SIGHUP'): signal.signal(getattr(signal, name), signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from styletutor.cli import main; raise SystemExit(main())"
    )
    words = transfer(out, "--evaluations", "1000000", "--print-iterations", "1", *more)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *words], text=True, **pipes)


def after_its_third_line(process: subprocess.Popen) -> None:
    assert any(line.startswith("evaluation 3/") for line in iter(process.stdout.readline, ""))


@posix
def test_a_reader_that_goes_away_in_the_midst_ends_nothing(tmp_path: Path) -> None:
    """As `… --print-iterations 1 | head -1`."""
    out, film = tmp_path / "out.png", tmp_path / "film.gif"
    read, write = os.pipe()
    os.close(read)
    more = ["--print-iterations", "1", "--timelapse", str(film)]
    done = in_a_process(*transfer(out, *more), stdout=write)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_whole(out) and film.stat().st_size


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("more", [[], ["--print-iterations", "1"]], ids=["silent", "talking"])
def test_words_that_find_no_room_end_nothing(more: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    with FULL.open("w") as full:
        done = in_a_process(*transfer(out, *more), stdout=full)
    assert (done.returncode, done.stderr) == (0, "") and is_whole(out)
    with FULL.open("w") as full:
        again = in_a_process(*transfer(out, *more), stderr=full)
    assert again.returncode == 0 and str(out) in again.stdout


@posix
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_without_streams_there_is_a_picture(closed: str, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = 'exec "$0" -c "from styletutor.cli import main; raise SystemExit(main())" "$@" '
    words = [sys.executable, *transfer(out, "--print-iterations", "1")]
    done = subprocess.run(["sh", "-c", command + closed, *words], capture_output=True)
    assert done.returncode == 0 and is_whole(out)


@posix
def test_a_folder_that_is_gone_is_replaced_by_another(tmp_path: Path) -> None:
    folder, other = tmp_path / "results", tmp_path / "pictures"
    folder.mkdir()
    other.mkdir()
    st.save_image(st.load_image("astronaut", 48), other / "photo.png")
    (other / "out.png").write_bytes(b"of somebody else")
    more = ["--content", str(other / "photo.png"), "--report", str(folder / "run.json")]
    process = started(folder / "out.png", *more)
    try:
        after_its_third_line(process)
        shutil.rmtree(folder)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    lines = err.splitlines()
    assert process.returncode == 2 and len(lines) == 2, err
    assert all(line.startswith("styletutor: error: there is no folder") for line in lines)
    assert str(other / "out-2.png") in lines[0] and str(other / "run.json") in lines[1]
    assert is_whole(other / "out-2.png")
    assert (other / "out.png").read_bytes() == b"of somebody else"
    assert json.loads((other / "run.json").read_text())["interrupted"]


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_what_ends_a_program_saves_first(name: str, tmp_path: Path) -> None:
    process = started(tmp_path / "out.png")
    try:
        after_its_third_line(process)
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "saved the best picture so far" in err, err
    assert len(err.splitlines()) == 1 and is_whole(tmp_path / "out.png")


@posix
def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert main(transfer(tmp_path / "out.png")) == 0
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert before == after


@pytest.mark.parametrize("option", ["--output", "--timelapse"])
def test_sides_that_a_format_does_not_have_are_refused_before_the_work(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    st.save_image(torch.rand(1, 3, 16, 16_400), tmp_path / "long.png")
    files = {"--output": str(tmp_path / "out.png"), option: str(tmp_path / "out.webp")}
    words = ["transfer", "--content", str(tmp_path / "long.png"), "--styles", "coins"]
    words += [*(w for pair in files.items() for w in pair), "--weights", "pocket"]
    words += ["--content-layers", "relu1_1", "--style-layers", "relu1_1"]
    said = refused(capsys, [*words, "--evaluations", "1000000"])
    assert "16400 x 16 pixels" in said and "16383" in said and "use .png" in said
    assert not list(tmp_path.glob("out*"))


def test_a_descent_that_is_lost_says_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """An absurd step: the start is the best there was, and the report is JSON for everybody."""
    out, report = tmp_path / "out.png", tmp_path / "run.json"
    how = ["--recipe", "anishathalye", "--start", "content", "--learning-rate", "1e30"]
    assert main(transfer(out, "--report", str(report), *how)) == 0
    assert "no finite number at evaluation 2" in capsys.readouterr().err
    assert is_whole(out)

    def strict(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    rows = json.loads(report.read_text(), parse_constant=strict)["history"]
    assert rows[0]["total"] > 0 and rows[1]["total"] is None


def test_no_home_and_nothing_temporary_are_no_reason_to_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may be missing, or forbidden, while the other is there."""

    def fails(error: Exception) -> object:
        def find(*_: object) -> None:
            raise error

        return find

    def save(path: str) -> None:
        Path(path).write_text("painted")

    gone = str(tmp_path / "gone" / "o.png")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "home", fails(RuntimeError("Could not determine home directory.")))
        patch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        assert save_somewhere(save, gone, [])[0] == str(tmp_path / "o.png")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "home", lambda: tmp_path)
        patch.setattr("tempfile.gettempdir", fails(FileNotFoundError("No usable temporary")))
        assert save_somewhere(save, gone, [])[0] == str(tmp_path / "o-2.png")
    with monkeypatch.context() as patch:
        patch.setattr("styletutor.cli.telling._unused", fails(PermissionError("forbidden")))
        with pytest.raises(FileNotFoundError, match="gone"):
            save_somewhere(save, gone, [tmp_path])


@pytest.mark.parametrize(
    "more",
    [
        ["--checkpoint-output", "~/photo%s.png"],
        ["--checkpoint-output", "film%s.gif", "--timelapse", "film2.gif"],
        ["--checkpoint-output", "r%s.png", "--report", "r2.png"],
        ["--checkpoint-output", "c%s.png", "--checkpoint", "c2.png"],
        ["--checkpoint-output", "c%s.png", "--checkpoint", "c2.png", "--evaluations", f"{10**12}"],
        ["--report", "w.safetensors"],
        ["--report", "checkpoints/vgg19-dcbb9e9d.pth"],
    ],
)
def test_no_input_and_no_other_output_is_overwritten(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("STYLETUTOR_WEIGHTS", str(tmp_path / "w.safetensors"))
    Path("w.safetensors").write_bytes(b"dear")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    Path("checkpoints").mkdir()
    cached = Path("checkpoints", "vgg19-dcbb9e9d.pth")
    cached.write_bytes(b"dear")
    st.save_image(st.load_image("coins", 40), "photo2.png")
    words = ["transfer", "--content", "photo2.png", "--styles", "coins", "--size", "40"]
    words += ["--weights", "pocket", "--evaluations", "2", "--output", "o.png", *more]
    words += ["--checkpoint-iterations", "2"] if "--checkpoint-output" in more else []
    before = Path("photo2.png").read_bytes()
    assert main(words) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert Path("photo2.png").read_bytes() == before
    assert Path("w.safetensors").read_bytes() == cached.read_bytes() == b"dear"
    assert not Path("o.png").exists()


def test_weights_in_a_folder_that_is_named_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("STYLETUTOR_WEIGHTS", str(tmp_path))
    (dear := tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"dear")
    assert main([*transfer(tmp_path / "o.png"), "--checkpoint", str(dear)]) == 2
    assert "would overwrite" in capsys.readouterr().err and dear.read_bytes() == b"dear"


def test_what_is_resumed_is_not_overwritten_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*transfer(Path("o.png")), "--evaluations", "2"]
    assert main([*words, "--checkpoint", "c4.png"]) == 0
    before = Path("c4.png").read_bytes()
    words = ["transfer", "--resume", "c4.png", "--evaluations", "4", "--output", "p.png"]
    words += ["--checkpoint", "d", "--checkpoint-iterations", "4"]
    assert main([*words, "--checkpoint-output", "c%s.png"]) == 2
    assert "would overwrite c4.png" in capsys.readouterr().err
    assert Path("c4.png").read_bytes() == before


@pytest.mark.parametrize(
    "how, said",
    [
        ({"checkpoint": "gone/run", "checkpoint_iterations": 1}, "no checkpoint was written"),
        ({"on_step": "exhausted"}, "out of memory after 2 evaluations"),
        ({"recipe": "anishathalye", "start": "content", "learning_rate": 1e30}, "no finite number"),
        ({"content_weight": 0, "style_weight": 0}, "all weights are 0"),
    ],
)
def test_warnings_that_are_made_errors_lose_no_picture(
    how: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gone").mkdir()

    def on_step(step: Step) -> None:
        shutil.rmtree("gone", ignore_errors=True)
        if "on_step" in how and step.evaluation == 2:
            raise MemoryError

    given = {"vgg": make_tiny_vgg(), "evaluations": 3, "progress": False}
    given |= {**how, "on_step": on_step}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        result = st.transfer(random_pictures(1, 32, 40), random_pictures(1, 32, 32), **given)
    assert result.image.isfinite().all()
    assert any(said in str(each.message) for each in caught)


def test_frames_on_the_way_that_find_no_room_lose_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f2.png").mkdir()
    frames = ["--checkpoint-output", "f%s.png", "--checkpoint-iterations", "1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(transfer(tmp_path / "out.png", *frames)) == 0
    assert is_whole(tmp_path / "out.png") and is_whole(tmp_path / "f3.png")
    assert "styletutor: warning: f2.png is a folder" in capsys.readouterr().err
