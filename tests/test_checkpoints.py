"""Nothing is lost: a run that was killed goes on to the same bits; a damaged file says so."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from safetensors.torch import load_file, save, save_file

import styletutor as st
from styletutor.cli import main
from styletutor.descent import Step, Stop, descend
from styletutor.runs import checkpoints, solve
from styletutor.runs.checkpoints import read_checkpoint, without_interrupts

PHOTO, ART = random_pictures(1, 128, 136, seed=1), random_pictures(1, 100, 90, seed=2)
HOW = {"content_layers": "relu2_2", "style_layers": ["relu1_1", "relu3_1"], "start": "noise"}
WAYS = [
    {"optimiser": "lbfgs"},
    {"optimiser": "adam", "tv_weight": 0.1},
    {"optimiser": "lbfgs", "precision": "fast", "coarse_to_fine": True},
    {"optimiser": "adam", "precision": "fast", "coarse_to_fine": True},
]


def stop_at(evaluation: int) -> object:
    def on_step(step: Step) -> None:
        if step.evaluation == evaluation:
            raise Stop

    return on_step


def run(**changes: object) -> st.Result:
    how = {"vgg": make_tiny_vgg(), "evaluations": 24, "precision": "exact", **HOW}
    return st.transfer(PHOTO, ART, progress=False, **(how | changes))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("evaluation", [1, 5, 6, 7, 20, 23, 24])
def test_a_stopped_run_goes_on_to_the_same_bits(way: dict, evaluation: int, tmp_path: Path) -> None:
    """Also where it stopped at the end of a coarse stage, or of the fast part, or just after it."""
    path, whole = tmp_path / "run.safetensors", run(**way)
    stopped = run(checkpoint=path, on_step=stop_at(evaluation), **way)
    assert stopped.interrupted == (evaluation < 24)
    resumed = run(resume=path, **way)
    assert torch.equal(resumed.image, whole.image)
    assert resumed.history == whole.history
    assert resumed.loss == whole.loss and not resumed.interrupted
    again = run(resume=path, **way)  # it has come to its end, and stays there
    assert torch.equal(again.image, whole.image)


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_knobs_that_were_turned_are_kept(optimiser: str, tmp_path: Path) -> None:
    """At evaluation 8, and once more by the step that is the last one before the stop."""

    def turn(step: Step) -> None:
        if step.evaluation == 8:
            step.objective.set_weight("style", 7.0)
        if step.evaluation == 12:
            step.objective.set_weight("tv", 0.5)

    def turn_and_stop(step: Step) -> None:
        turn(step)
        stop_at(12)(step)

    path, way = tmp_path / "run", {"optimiser": optimiser}
    whole = run(on_step=turn, **way)
    run(checkpoint=path, on_step=turn_and_stop, **way)
    resumed = run(resume=path, on_step=turn, **way)
    assert torch.equal(resumed.image, whole.image)
    assert resumed.history == whole.history
    assert [row["evaluation"] for row in resumed.turned] == [9, 13]
    assert resumed.turned == whole.turned


def test_reconstructions_go_on_too(tmp_path: Path) -> None:
    how = {"vgg": make_tiny_vgg(), "evaluations": 12, "precision": "exact", "progress": False}
    for verb in (st.reconstruct_content, st.reconstruct_style):
        path, whole = tmp_path / verb.__name__, verb(PHOTO, "relu2_1", **how)
        verb(PHOTO, "relu2_1", checkpoint=path, on_step=stop_at(5), **how)
        assert torch.equal(verb(PHOTO, "relu2_1", resume=path, **how).image, whole.image)


def test_how_often_it_is_written(tmp_path: Path) -> None:
    path, seen = tmp_path / "run", []

    def look(step: Step) -> None:
        seen.append(int(load_file(path)["evaluation"]) if path.exists() else 0)

    run(checkpoint=path, checkpoint_iterations=10, on_step=look)
    assert seen[9:12] == [0, 10, 10] and seen[20] == 20
    assert int(load_file(path)["evaluation"]) == 24
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


COMMAND = [
    "transfer", "--content", "astronaut", "--styles", "coins", "--size", "128", "--weights",
    "pocket", "--device", "cpu", "--start", "noise", "--evaluations", "60",
]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_a_process_killed_at_any_moment_goes_on_to_the_same_bits(
    optimiser: str, tmp_path: Path
) -> None:
    """Ten times: killed after a random time, in a step or while the file is written."""
    command = [*COMMAND, "--optimiser", optimiser, "--coarse-to-fine"]
    whole, out, kept = (tmp_path / name for name in ("whole.png", "out.png", "run.safetensors"))
    assert main([*command, "--output", str(whole)]) == 0
    code = "from styletutor.cli import main; raise SystemExit(main())"
    generator = torch.Generator().manual_seed(sum(map(ord, optimiser)))
    kills, reached = 0, 0
    while kills < 5:  # for each of the two optimisers
        more = ["--checkpoint-iterations", "1"]
        how = ["--resume", str(kept)] if kept.exists() else [*command, "--checkpoint", str(kept)]
        words = how if "transfer" in how else ["transfer", *how, "--device", "cpu"]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words, "--output", str(out), *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until, before = time.monotonic() + 60, reached
        while reached == before and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
            reached = int(read_checkpoint(kept)[1]["evaluation"]) if kept.exists() else 0
        time.sleep(0.15 * float(torch.rand((), generator=generator)))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), err
        if process.returncode == 0:  # too fast for us: begin anew
            kept.unlink()
            reached = 0
    assert main(["transfer", "--resume", str(kept), "--output", str(out), "--device", "cpu"]) == 0
    assert out.read_bytes() == whole.read_bytes()


def test_ctrl_c_waits_for_the_end_of_a_step() -> None:
    # What a shell starts in the background is told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), without_interrupts():
        signal.raise_signal(signal.SIGINT)
        finished = True
    assert finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_state_belongs_to_the_latest_step() -> None:
    vgg = make_tiny_vgg()
    objective = st.Objective(vgg, content=PHOTO, content_layers="relu1_1")
    *_, step = descend(objective, PHOTO, 3)
    with pytest.raises(RuntimeError, match="the descent has gone on"):
        step.state()


def tampered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def tampered_words(path: Path) -> None:
    """A digit of the history, so that it is still JSON."""
    data = path.read_bytes()
    at = re.search(rb"evaluation[^0-9]{1,8}([0-9])", data).start(1)
    path.write_bytes(data[:at] + (b"7" if data[at : at + 1] != b"7" else b"8") + data[at + 1 :])


def craft(path: Path, saved: dict, tensors: dict[str, torch.Tensor]) -> None:
    """With a digest that is right."""
    words = saved | {"sha256": checkpoints._digest(tensors, saved)}
    path.write_bytes(save(tensors, {checkpoints.KEY: json.dumps(words)}))


def mistyped(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        saved, tensors = read_checkpoint(path)
        change(saved)
        craft(path, saved, tensors)

    return harm


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def another_file(path: Path) -> None:
    save_file({"x": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    "harm",
    [
        tampered,
        tampered_words,
        cut,
        another_file,
        lambda p: p.write_text("{}"),
        mistyped(lambda saved: saved.update(weights=3)),
        mistyped(lambda saved: saved.update(weights={"style": "high"})),
        mistyped(lambda saved: saved.update(about=[])),
        mistyped(lambda saved: saved["record"].update(rows=[1, 2, 3])),
        mistyped(lambda saved: saved["record"].update(rows=[{"evaluation": "one"}] * 3)),
        mistyped(lambda saved: saved["record"].update(seconds="long")),
        mistyped(lambda saved: saved["record"].pop("weights")),
        mistyped(lambda saved: saved["record"].update(more=1)),
        mistyped(lambda saved: saved["record"]["rows"].pop()),
        mistyped(lambda saved: saved.update(about={})),
        mistyped(lambda saved: saved["about"].pop("weights sha256")),
        mistyped(lambda saved: saved["about"].update(command=1)),
        mistyped(lambda saved: saved["about"].update(settings=[])),
        mistyped(lambda saved: saved["about"]["settings"].update(evaluations=2)),
        mistyped(lambda saved: saved["about"]["settings"].update(evaluations="many")),
        mistyped(lambda saved: saved["record"]["rows"][0].pop("total")),
        mistyped(lambda saved: saved["record"]["rows"][0].update(total="low")),
        mistyped(lambda saved: saved["record"]["rows"][0].update(size=3)),
        mistyped(lambda saved: saved["record"]["rows"][0].update(evaluation=3)),
        mistyped(lambda saved: saved["record"]["turned"].append({"evaluation": 1})),
        mistyped(lambda saved: saved["weights"].update(style=[1.0, 2.0])),
        mistyped(lambda saved: saved["weights"].update(style=[float("nan")])),
        mistyped(lambda saved: saved["record"]["weights"].pop("style")),
        mistyped(lambda saved: saved["record"]["weights"].update({"style relu5_1": [1.0]})),
    ],
)
def test_a_damaged_checkpoint_is_one_clear_line(
    harm: object, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "run"
    run(checkpoint=path, on_step=stop_at(3))
    harm(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="damaged or no checkpoint of styletutor; begin anew"):
        run(resume=path)
    assert path.read_bytes() == before
    words = ["transfer", "--resume", str(path), "--output", str(tmp_path / "out.png")]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_tensors_of_another_kind_are_refused(optimiser: str, tmp_path: Path) -> None:
    path, short = tmp_path / "run", {"optimiser": optimiser, "evaluations": 3}
    run(checkpoint=path, **short)
    saved, sound = read_checkpoint(path)
    assert len(sound) > 8
    crafted = [{"point.best": torch.full_like(sound["point.best"], torch.nan)}, {"more": PHOTO}]
    crafted.append({"evaluation": torch.tensor(torch.inf)})
    for name, tensor in sound.items():
        for other in (None, tensor[..., None], tensor[None], tensor.to(torch.complex64)):
            if other is not None or name != "optimiser.basis":  # which was on disk, then
                crafted.append({name: other})
    for change in crafted:
        tensors = {name: t for name, t in {**sound, **change}.items() if t is not None}
        craft(path, saved, tensors)
        with pytest.raises(ValueError, match=f"{path} is damaged or no checkpoint"):
            run(resume=path, **short)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"content": PHOTO.flip(3)}, "settings content is tensor with sha256"),
        ({"style_weight": 3.0}, "its settings style_weight is 40.0, not 3.0"),
        ({"evaluations": 23}, "its settings evaluations is 24, not 23"),
        ({"seed": 1}, "seed is 0, not 1"),
        ({"vgg": make_tiny_vgg(sha256="1" * 64)}, "weights sha256"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    changes: dict, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    run(checkpoint=path, on_step=stop_at(3))
    how = {"content": PHOTO, "style": ART, "vgg": make_tiny_vgg(), "evaluations": 24}
    with pytest.raises(ValueError, match=message) as error:
        st.transfer(**(how | {"precision": "exact", "resume": path, **HOW} | changes))
    assert "\n" not in str(error.value) and "begin anew without it" in str(error.value)


@pytest.mark.parametrize("way", [{}, {"optimiser": "adam"}])
@pytest.mark.parametrize("stop", [10, 24])
def test_with_a_larger_budget_it_goes_on_for_longer(way: dict, stop: int, tmp_path: Path) -> None:
    path, whole = tmp_path / "run", run(evaluations=30, **way)
    run(checkpoint=path, on_step=stop_at(stop), **way)
    longer = run(resume=path, evaluations=30, **way)
    assert torch.equal(longer.image, whole.image) and longer.history == whole.history
    assert longer.settings["evaluations"] == len(longer.history) == 30


def test_a_longer_descent_has_larger_coarse_stages(tmp_path: Path) -> None:
    """So that what was at full size may have to be smaller again, which is refused."""
    path, way = tmp_path / "run", {"coarse_to_fine": True, "precision": "fast"}
    run(checkpoint=path, **way)
    longer = run(resume=path, evaluations=40, **way)
    assert len(longer.history) == 40
    run(checkpoint=path, **way)
    with pytest.raises(ValueError, match="with 4000 evaluations, number 24 is at another size"):
        run(resume=path, evaluations=4000, **way)


def test_pictures_that_changed_behind_their_name_are_noticed(tmp_path: Path) -> None:
    st.save_image(PHOTO, tmp_path / "photo.png")
    how = {"vgg": make_tiny_vgg(), "evaluations": 5, **HOW}
    arguments = (tmp_path / "photo.png", ART)
    st.transfer(*arguments, checkpoint=tmp_path / "run", on_step=stop_at(2), **how)
    st.save_image(PHOTO.flip(2), tmp_path / "photo.png")
    with pytest.raises(ValueError, match="is of another run: its pictures"):
        st.transfer(*arguments, resume=tmp_path / "run", **how)


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        run(resume=tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no folder"):
        run(checkpoint=tmp_path / "nowhere" / "run")
    with pytest.raises(ValueError, match="every 0 evaluations"):
        run(checkpoint=tmp_path / "run", checkpoint_iterations=0)


def test_the_command_line_resumes_with_the_settings_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    kept, out = tmp_path / "run", tmp_path / "out.png"
    small = ["--size", "48", "--weights", "pocket", "--style-weight", "33", "--evaluations", "4"]
    arguments = ["--content", "astronaut", "--styles", "coins", *small, "--output", str(out)]
    assert main(["transfer", *arguments, "--checkpoint", str(kept)]) == 0
    first = out.read_bytes()
    report = tmp_path / "run.json"
    again = ["transfer", "--resume", str(kept), "--output", str(out), "--report", str(report)]
    assert main(again) == 0
    assert out.read_bytes() == first
    assert json.loads(report.read_text())["settings"]["style_weight"] == 33
    capsys.readouterr()
    assert main([*again, "--style-weight", "5"]) == 2
    assert "style_weight is 33.0, not 5.0" in capsys.readouterr().err
    assert main([*again, "--settings", str(report)]) == 2
    assert "leave out --settings" in capsys.readouterr().err


def test_a_lack_of_memory_in_the_first_step_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checkpoint=tmp_path / "run", on_step=stop_at(3))

    def exhausted(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(solve, "descend", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        run(resume=tmp_path / "run")
