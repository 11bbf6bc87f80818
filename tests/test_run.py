"""A descent in a thread: pause, knobs, stop, errors. Waits for events, never for seconds."""

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

import styletutor as st
from styletutor.descent import Step

PHOTO = random_pictures(1, 24, 32, seed=1)
ART = random_pictures(1, 24, 32, seed=2)
SMALL = {"content_layers": "relu2_2", "style_layers": ["relu1_1"]}


def make_run(**changes: object) -> st.Run:
    arguments = {"vgg": make_tiny_vgg(), "evaluations": 12, **SMALL}
    return st.Run(st.transfer, PHOTO, ART, **(arguments | changes))


class Gate:
    """Lets a run through one evaluation at a time."""

    def __init__(self) -> None:
        self.arrived, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, step: Step) -> None:
        self.arrived.release()
        assert self.go.acquire(timeout=30)

    def pass_one(self) -> None:
        assert self.arrived.acquire(timeout=30)
        self.go.release()


def test_gives_what_the_verb_gives() -> None:
    run = make_run()
    assert run.state == "new"
    result = run.start().wait()
    assert run.state == "done"
    direct = st.transfer(PHOTO, ART, vgg=make_tiny_vgg(), evaluations=12, **SMALL)
    assert torch.equal(result.image, direct.image)
    assert "transfer, done at 12/12" in repr(run)


def test_whatever_can_be_called_is_run() -> None:
    paint = partial(st.transfer, PHOTO, vgg=make_tiny_vgg(), evaluations=2, **SMALL)
    assert len(st.Run(paint, ART, progress=False).start().wait().history) == 2


def test_stop_acts_after_the_evaluation_under_way() -> None:
    gate = Gate()
    run = make_run(on_step=gate, evaluations=1000).start()
    gate.pass_one()
    assert gate.arrived.acquire(timeout=30)  # the second evaluation is at the gate
    run.stop()
    gate.go.release()
    result = run.wait(timeout=30)
    assert len(result.history) == 2 and result.interrupted


def test_pause_holds_and_resume_goes_on() -> None:
    gate = Gate()
    run = make_run(on_step=gate).start()
    gate.pass_one()
    assert gate.arrived.acquire(timeout=30)
    run.pause()
    assert run.state == "paused"
    gate.go.release()
    assert not gate.arrived.acquire(timeout=0.3), "no evaluation may happen in a pause"
    with pytest.raises(TimeoutError, match="still paused"):
        run.wait(timeout=0.01)
    assert run.step.evaluation == 2
    for _ in range(20):
        gate.go.release()
    run.resume()
    assert len(run.wait(timeout=30).history) == 12


def test_stop_ends_a_pause() -> None:
    run = make_run()
    run.pause()
    run.start()
    run.stop()
    assert len(run.wait(timeout=30).history) == 1


def test_a_knob_counts_from_the_next_evaluation() -> None:
    gate = Gate()
    run = make_run(on_step=gate, evaluations=6, style_weight=10.0).start()
    gate.pass_one()
    assert gate.arrived.acquire(timeout=30)
    run.turn(style=1000.0, **{"style relu1_1": 0.5})
    for _ in range(10):
        gate.go.release()
    result = run.wait(timeout=30)
    assert result.history[2]["style"] > 10 * result.history[1]["style"]
    assert result.turned == [
        {"evaluation": 3, "weights": {"style": [1000.0], "style relu1_1": [0.5]}}
    ]
    assert result.report()["turned"] == result.turned


def test_a_pause_after_stop_does_not_hold_the_run() -> None:
    gate = Gate()
    run = make_run(on_step=gate, evaluations=1000).start()
    assert gate.arrived.acquire(timeout=30)
    run.stop()
    run.pause()
    gate.go.release()
    assert run.wait(timeout=30).interrupted


def test_an_error_in_on_end_is_raised_by_wait() -> None:
    run = make_run(on_end=lambda _: 1 / 0).start()
    with pytest.raises(ZeroDivisionError):
        run.wait(timeout=30)


def test_the_interpreter_can_end_while_a_run_goes_on() -> None:
    code = (
        "import styletutor as st, time\n"
        "vgg = st.load_vgg('pocket')\n"
        "run = st.Run(st.transfer, 'coins', 'coins', vgg=vgg, size=64, evaluations=10**6).start()\n"
        "while run.step is None: time.sleep(0.01)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_errors_of_the_thread_are_raised_by_wait_and_told_to_on_end() -> None:
    ended = []
    run = make_run(on_step=lambda _: 1 / 0, on_end=ended.append).start()
    with pytest.raises(ZeroDivisionError):
        run.wait(timeout=30)
    assert run.state == "failed" and ended == [run]
    run = make_run(vgg=make_tiny_vgg(), recipe="nonesuch").start()
    with pytest.raises(ValueError, match="unknown recipe"):
        run.wait(timeout=30)
    run = make_run()
    run.turn(styel=1.0)
    with pytest.raises(ValueError, match="no weight is called 'styel'"):
        run.start().wait(timeout=30)


def test_two_runs_do_not_disturb_each_other() -> None:
    vgg = make_tiny_vgg()
    runs = [make_run(vgg=vgg, seed=s, start="noise") for s in (1, 2)]
    for run in runs:
        run.start()
    for seed, run in zip((1, 2), runs, strict=True):
        alone = st.transfer(PHOTO, ART, vgg=vgg, evaluations=12, seed=seed, start="noise", **SMALL)
        assert torch.equal(run.wait(timeout=30).image, alone.image)


def test_misuse() -> None:
    run = make_run()
    with pytest.raises(RuntimeError, match="never started"):
        run.wait()
    with pytest.raises(RuntimeError, match=r"nothing has been evaluated yet; call keep\(\)"):
        run.keep()
    run.start()
    with pytest.raises(RuntimeError, match="started before"):
        run.start()
    run.wait(timeout=30)


def test_another_process_waits_in_vain() -> None:
    """A forked child has the object, and no thread that would ever end it."""
    run = make_run()
    run._thread = threading.Thread()
    run._thread.start()
    run._thread.join()
    with pytest.raises(RuntimeError, match="another process's; wait for it there"):
        run.wait()


def test_a_run_goes_on_from_a_kept_frame_more_than_once() -> None:
    kept = []

    def keep(step: Step) -> None:
        if step.evaluation == 5:
            kept.append(run.keep())

    run = make_run(on_step=keep)
    whole = run.start().wait()
    (frame,) = kept
    assert frame.evaluation == 5 and frame.bytes > PHOTO.nbytes
    for _ in range(2):
        again = make_run(resume=frame).start().wait()
        assert torch.equal(again.image, whole.image) and again.history == whole.history
    fork = make_run(resume=frame)
    fork.turn(style=3.0)
    other = fork.start().wait()
    assert other.history[:5] == whole.history[:5] and other.turned
    assert len(frame.record.rows) == 5, "what came later is not in it"
    last = make_run(resume=frame).start().wait()
    assert torch.equal(last.image, whole.image), "a fork leaves its frame as it was"


def test_a_stop_keeps_where_it_was() -> None:
    gate = Gate()
    run = make_run(on_step=gate).start()
    gate.pass_one()
    assert gate.arrived.acquire(timeout=30)
    run.stop()
    gate.go.release()
    run.wait(timeout=30)
    assert run.frame.evaluation == 2
    went_on = make_run(resume=run.frame).start().wait()
    whole = make_run().start().wait()
    assert torch.equal(went_on.image, whole.image) and not went_on.interrupted


def test_a_frame_of_another_run_is_refused() -> None:
    kept = []
    run = make_run(on_step=lambda _: kept.append(run.keep()), evaluations=2)
    run.start().wait()
    for other in ({"style_layers": ["relu2_1"]}, {"seed": 3}):
        with pytest.raises(ValueError, match="frame is of another run: its settings"):
            make_run(resume=kept[0], evaluations=2, **other).start().wait()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_a_frame_can_be_copied_and_pickled(copied: Callable[[st.Frame], st.Frame]) -> None:
    kept = []
    run = make_run(on_step=lambda _: kept.append(run.keep()))
    whole = run.start().wait()
    again = make_run(resume=copied(kept[4])).start().wait()
    assert torch.equal(again.image, whole.image) and again.history == whole.history


def test_a_run_resumed_from_a_file_knows_what_was_before(tmp_path: Path) -> None:
    make_run(checkpoint=tmp_path / "run", checkpoint_iterations=4, evaluations=12).start().wait()
    whole = make_run().start().wait()
    gate = Gate()
    first = make_run(checkpoint=tmp_path / "run", checkpoint_iterations=1, on_step=gate).start()
    for _ in range(4):
        gate.pass_one()
    assert gate.arrived.acquire(timeout=30)
    first.stop()
    gate.go.release()
    first.wait(timeout=30)
    kept = []
    run = make_run(resume=tmp_path / "run", on_step=lambda _: kept.append(run.keep()))
    run.start().wait()
    assert [row["evaluation"] for row in kept[0].record.rows] == list(range(1, 7))
    again = make_run(resume=kept[0]).start().wait()
    assert torch.equal(again.image, whole.image) and again.history == whole.history
