"""The command line as a person meets it: in a process of its own where that matters."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import styletutor as st
from styletutor import doctor
from styletutor.cli import main
from styletutor.cli.words import build_parser
from styletutor.descent import Step, Stop
from styletutor.machine import default_device
from styletutor.pictures import loading

SMALL = ["--size", "48", "--evaluations", "3", "--weights", "pocket"]
LAYERS = ["--content-layers", "relu2_2", "--style-layers", "relu1_1", "relu2_1"]


def transfer(out: Path, *more: str) -> list[str]:
    pictures = ["--content", "astronaut", "--styles", "voronoi-mosaic", "--output", str(out)]
    return ["transfer", *pictures, *SMALL, *LAYERS, *more]


def in_a_process(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-c",
        "from styletutor.cli import main; raise SystemExit(main())",
    ]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.run([*command, *arguments], **options)


def refused(capsys: pytest.CaptureFixture, arguments: list[str]) -> str:
    """The one line that a refused command writes."""
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert line.startswith("styletutor: error: ")
    return line


@pytest.mark.parametrize(
    "words, said",
    [
        (["--weights", ""], "no weights are named ''"),
        (["--device", ""], "there is no device ''"),
        (["--style-layers", "relu1_1=1", "relu1_1=2"], "the layer relu1_1 is named twice"),
        (["--content-layers", "relu1_1", "relu1_1"], "the layer relu1_1 is named twice"),
    ],
)
def test_words_that_mean_nothing_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert said in refused(capsys, [*transfer(tmp_path / "o.png"), *words])


def test_the_content_is_read_once_to_check_it_and_once_to_paint_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    st.save_image(st.load_image("coins", 48), tmp_path / "photo.png")
    read, names = loading.read_image, []
    monkeypatch.setattr(loading, "read_image", lambda p, *a: [names.append(p), read(p, *a)][1])
    assert main([*transfer(tmp_path / "o.png"), "--content", str(tmp_path / "photo.png")]) == 0
    assert names == 2 * [str(tmp_path / "photo.png")]


def test_transfer_saves_picture_and_report(tmp_path: Path) -> None:
    out, report = tmp_path / "out.png", tmp_path / "run.json"
    assert main(transfer(out, "--report", str(report), "--tv-weight", "0.1")) == 0
    assert st.load_image(out).shape == (1, 3, 48, 48)
    data = json.loads(report.read_text())
    assert data["command"] == "transfer"
    assert data["settings"]["weights"] == "pocket"
    assert data["settings"]["tv_weight"] == 0.1
    assert len(data["history"]) == data["evaluations"] == 3
    assert data["backbone"]["name"] == "pocket"


@pytest.mark.skipif(default_device().type != "cpu", reason="only the CPU promises the same bits")
@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["--start", "noise", "--seed", "3", "--style-layers", "relu1_1=2", "relu2_1"],
        ["--styles", "coins", "grass", "--blend", "0.1", "0.7", "--pooling", "avg"],
        ["--optimiser", "adam", "--learning-rate", "0.07", "--tv-weight", "0.3"],
        ["--start", "moon", "--content", "camera", "--style-weight", "3.3"],
        ["--weights", "weights.pth"],
    ],
)
def test_a_report_is_enough_to_run_again_bit_for_bit(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_pocket(tmp_path / "weights.pth")
    assert main([*transfer(Path("a.png")), *settings, "--report", "a.json"]) == 0
    again = ["--output", "b.png", "--report", "b.json"]
    assert main(["transfer", "--settings", "a.json", *again]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    first, second = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert first["history"] == second["history"]
    assert first["settings"] == second["settings"]
    assert main(["transfer", "--settings", "a.json", *again, "--style-weight", "0.5"]) == 0
    assert Path("a.png").read_bytes() != Path("b.png").read_bytes()


def test_an_interrupted_run_is_repeated_as_far_as_it_went(tmp_path: Path) -> None:
    """Also in fast arithmetic and from coarse to fine, where a shorter run would be another one."""

    def stop(step: Step) -> None:
        if step.evaluation == 7:
            raise Stop

    how = {"start": "noise", "coarse_to_fine": True, "precision": "fast", "size": 160}
    layers = {"content_layers": ["relu2_2"], "style_layers": ["relu1_1", "relu2_1"]}
    vgg = st.load_vgg("pocket", device="cpu")
    result = st.transfer(
        "astronaut", "coins", vgg=vgg, evaluations=40, on_step=stop, **how, **layers
    )
    assert result.interrupted
    result.save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps(result.report()))
    again = ["--output", str(tmp_path / "b.png"), "--report", str(tmp_path / "b.json")]
    more = ["--settings", str(tmp_path / "a.json"), "--device", "cpu"]
    assert main(["transfer", *more, *again]) == 0
    second = json.loads((tmp_path / "b.json").read_text())
    assert second["history"] == result.history and len(result.history) == 7
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def save_pocket(path: Path) -> None:
    """The pocket network as a weight file in torchvision's layout."""
    vgg, state = st.load_vgg("pocket", device="cpu"), {}
    for name, module in vgg.convolutions.items():
        key = f"features.{vgg.layer_names.index(name)}"
        state |= {f"{key}.weight": module.weight.data, f"{key}.bias": module.bias.data}
    torch.save(state, path)


@pytest.mark.parametrize("kind", ["content", "style"])
def test_reconstruct(kind: str, tmp_path: Path) -> None:
    out, report = tmp_path / "out.jpg", tmp_path / "run.json"
    command = ["reconstruct", kind, "--image", "chelsea", "--layers", "relu1_1", "relu2_1=0.5"]
    assert main([*command, "--output", str(out), *SMALL, "--report", str(report)]) == 0
    assert st.load_image(out).shape == (1, 3, 32, 48)
    data = json.loads(report.read_text())
    assert data["command"] == f"reconstruct {kind}"
    assert data["settings"]["layers"] == {"relu1_1": 1.0, "relu2_1": 0.5}


def test_layers(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert main(["layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 37
    assert lines[1].split() == ["conv1_1", "conv", "64", "1", "3×3", "1,792"]
    assert lines[-1].split()[:4] == ["pool5", "pool", "512", "32"]
    sheet = tmp_path / "sheet.png"
    assert main(["layers", "--image", "coins", "--output", str(sheet), "--weights", "pocket"]) == 0
    assert st.load_image(sheet).shape[-1] > 800


def test_weights(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert main(["weights"]) == 0
    out = capsys.readouterr().out
    assert "512 drawings" in out and "auto" in out
    save_pocket(tmp_path / "w.pth")
    assert main(["weights", "check", str(tmp_path / "w.pth")]) == 0
    assert "conv1_1 … pool5" in capsys.readouterr().out


def test_the_forecast_is_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "measure", lambda vgg: 0.5)
    monkeypatch.setattr(doctor, "predict", lambda vgg, size, *_, **__: size[0] ** 2 * 2**14)
    lines = list(doctor.examine(st.load_vgg("pocket", device="cpu")))
    assert "0.50 s each" in lines[-5]
    assert lines[-4].endswith("200 evaluations at 256×256: 1.7 minutes, 1.0 GiB of memory")
    assert lines[-3].endswith("200 evaluations at 512×512: 6.7 minutes, 4.0 GiB of memory")


def test_doctor(capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor", "--weights", "pocket"]) == 0
    out = capsys.readouterr().out
    for word in ("Python", "torch", "device", "memory", "drawings", "256×256", "512×512", "GiB"):
        assert word in out


COMMANDS = ("transfer", "reconstruct", "sweep", "gallery", "layers", "weights", "recipes", "doctor",
            "lab", "studio")  # fmt: skip


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    assert exit_.value.code == 0
    assert "usage: styletutor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("usual", "ours", "value"),
    [
        ("--style", "--styles", "coffee"),
        ("--colors", "--colours", "content"),
        ("--optimizer", "--optimiser", "adam"),
    ],
)
@pytest.mark.parametrize("command", ["transfer", "sweep"])
def test_words_of_other_programs(command: str, usual: str, ours: str, value: str) -> None:
    given = [command, "--output", "a.png", *(["--styles", "chelsea"] if command == "sweep" else [])]
    parsed = (build_parser().parse_args([*given, word, value]) for word in (usual, ours))
    first, second = ({**vars(each), "parser": None} for each in parsed)
    assert first == second != {**vars(build_parser().parse_args(given)), "parser": None}


def make_bad_files(folder: Path) -> None:
    (folder / "text.jpg").write_text("I am no picture")
    (folder / "empty.png").write_bytes(b"")
    st.save_image(torch.rand(1, 3, 64, 64), folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:700])
    st.save_image(torch.rand(1, 3, 7, 90), folder / "thin.png")
    (folder / "corrupt.pth").write_bytes(b"PK\x03\x04" + bytes(500))
    torch.save({"features.0.weight": torch.zeros(4, 3, 5, 5)}, folder / "shape.pth")
    (folder / "not-a-report.json").write_text("[1, 2]")


@pytest.mark.parametrize(
    "change, message",
    [
        (["--content", "no-such-file.jpg"], "no-such-file.jpg"),
        (["--content", "text.jpg"], "text.jpg is not a picture"),
        (["--content", "empty.png"], "empty"),
        (["--styles", "truncated.jpg"], "truncated.jpg"),
        (["--content", "thin.png", "--content-layers", "relu5_1"], "at least 16"),
        (["--content-layers", "rleu4_2"], "relu4_2"),
        (["--style-layers", "relu1_1=abc"], "NAME=WEIGHT"),
        (["--content", "astronuat"], "astronaut"),
        (["--recipe", "defualt"], "default"),
        (["--weights", "pokcet"], "pocket"),
        (["--weights", "corrupt.pth"], "corrupt.pth"),
        (["--weights", "shape.pth"], "shape.pth"),
        (["--style-weight", "-1"], "finite number"),
        (["--style-weight", "nan"], "finite number"),
        (["--tv-weight", "inf"], "finite number"),
        (["--blend", "1", "2"], "2 blend weights for 1"),
        (["--blend", "-1"], "blend weights"),
        (["--evaluations", "0"], "evaluations=0"),
        (["--size", "0"], "size"),
        (["--size", "many"], "--size"),
        (["--output", "nowhere/out.png"], "nowhere"),
        (["--output", "out.xyz"], "out.xyz"),
        (["--output", "whole.jpg", "--content", "whole.jpg"], "overwrite"),
        (["--output", "whole.jpg", "--start", "whole.jpg"], "overwrite"),
        (["--report", "whole.jpg", "--styles", "coins", "whole.jpg"], "overwrite"),
        (["--report", "shape.pth", "--weights", "shape.pth"], "overwrite"),
        (["--output", "n" * 300 + ".png"], "choose another name"),
        (["--seed", "9" * 30], "63 bits"),
        (["--device", "meta"], "meta"),
        (["--report", "nowhere/run.json"], "nowhere"),
        (["--report", "out.png"], "two outputs"),
        (["--settings", "no-report.json"], "no-report.json"),
        (["--settings", "not-a-report.json"], "not a report"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--start", "no-start.png"], "no-start.png"),
    ],
)
def test_bad_input_is_one_line_and_touches_no_file(
    change: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    make_bad_files(tmp_path)
    Path("out.png").write_bytes(b"an old picture")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert message in refused(capsys, [*transfer(Path("out.png")), *change])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "COMMAND"),
        (["tranfser"], "tranfser"),
        (["transfer", "--content", "astronaut"], "--output"),
        (["transfer", "--output", "out.png"], "--content and --styles must be given"),
        (["reconstruct", "--output", "out.png"], "kind"),
        (["reconstruct", "content", "--output", "out.png"], "--image and --layers"),
        (["layers", "--image", "astronaut"], "--output"),
        (["weights", "check"], "FILE"),
        (["weights", "check", "nothing.pth"], "nothing.pth"),
        (["weights", "status", "nothing.pth"], "FILE"),
    ],
)
def test_bad_commands(
    arguments: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, arguments)
    assert not list(tmp_path.iterdir())


def test_settings_of_another_command_or_other_weights_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    report, out = tmp_path / "run.json", tmp_path / "out.png"
    assert main(transfer(out, "--report", str(report))) == 0
    again = ["--settings", str(report), "--output", str(tmp_path / "again.png")]
    assert "not of `reconstruct content`" in refused(capsys, ["reconstruct", "content", *again])
    data = json.loads(report.read_text())
    data["backbone"]["sha256"] = "f" * 64
    report.write_text(json.dumps(data))
    assert "not those of the report" in refused(capsys, ["transfer", *again])


@pytest.mark.parametrize(
    "key, value",
    [
        ("colour", "red"),
        ("device", 3),
        ("style_weight", "x"),
        ("style_weight", [1, 2]),
        ("blend", [[1]]),
        ("styles", [[1]]),
        ("content", {"a": 1}),
        ("learning_rate", "fast"),
        ("evaluations", 2.5),
        ("content_layers", {"relu1_1": "x"}),
        ("seed", "x"),
        ("size", True),
    ],
)
def test_a_report_with_wrong_values_is_refused(
    key: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    report = tmp_path / "run.json"
    assert main(transfer(tmp_path / "out.png", "--report", str(report))) == 0
    data = json.loads(report.read_text(encoding="utf-8"))
    data["settings"][key] = value
    report.write_text(json.dumps(data), encoding="utf-8-sig")
    capsys.readouterr()
    again = ["--settings", str(report), "--output", str(tmp_path / "again.png")]
    refused(capsys, ["transfer", *again])
    assert not (tmp_path / "again.png").exists()


def test_a_reader_that_goes_away_loses_no_picture(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = in_a_process(*transfer(tmp_path / "out.png"), stdout=write)
    assert done.returncode == 0
    assert (tmp_path / "out.png").exists()


def test_errors_in_a_real_process_are_one_line(tmp_path: Path) -> None:
    done = in_a_process(*transfer(tmp_path / "out.png", "--content", "missing.jpg"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("styletutor: error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_saves_the_best_so_far(tmp_path: Path) -> None:
    out, report = tmp_path / "out.png", tmp_path / "run.json"
    code = (
        "import signal, styletutor.runs.solve as r; from styletutor.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job of a shell ignores it
        "original = r.ProgressBar.__call__\n"
        "def call(self, step):\n"
        "    original(self, step)\n"
        "    if step.evaluation == 3: print('three', flush=True)\n"
        "r.ProgressBar.__call__ = call\n"
        "raise SystemExit(main())"
    )
    arguments = transfer(out, "--report", str(report), "--evaluations", "1000000")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "three\n" in iter(process.stdout.readline, "")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "saved the best picture so far" in err
    data = json.loads(report.read_text())
    assert data["interrupted"] and 3 <= data["evaluations"] < 1000000
    assert st.load_image(out).shape == (1, 3, 48, 48)


@pytest.mark.parametrize("command, module", [("lab", "jupyterlab"), ("studio", "voila")])
def test_lab_and_studio_without_jupyter(
    command: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert "pip install -e '.[lab]'" in refused(capsys, [command, "--no-browser"])
