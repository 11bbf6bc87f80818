"""The command line of A. Athalye's neural_style.py, with only the program's name changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from test_formats import for_caffe, known, matconvnet

import styletutor as st
from styletutor.cli import main
from styletutor.cli.progress import numbered
from styletutor.pictures.images import resize_image
from styletutor.runs.solve import ProgressBar

FULL = [
    "--iterations", "20", "--print-iterations", "5", "--checkpoint-output", "step_%s.png",
    "--checkpoint-iterations", "10", "--progress-write", "--progress-plot", "--width", "48",
    "--style-scales", "1.0", "0.5", "--content-weight", "5e0", "--content-weight-blend", "0.7",
    "--style-weight", "5e2", "--style-layer-weight-exp", "2", "--style-blend-weights", "1", "3",
    "--tv-weight", "1e2", "--learning-rate", "1e1", "--beta1", "0.8", "--beta2", "0.99",
    "--epsilon", "1e-7", "--initial", "coins.png", "--initial-noiseblend", "0.2",
    "--preserve-colors", "--pooling", "avg", "--overwrite",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("coffee", "coins", "grass"):
        st.save_image(st.load_image(name, 90), f"{name}.png")
    matconvnet(tmp_path / "imagenet-vgg-verydeep-19.mat", for_caffe(known()), new=True)
    return tmp_path


def paint(*more: str) -> list[str]:
    pictures = ["--content", "coffee.png", "--styles", "coins.png", "--output", "out.jpg"]
    network = ["--network", "imagenet-vgg-verydeep-19.mat", "--recipe", "anishathalye"]
    return ["transfer", *pictures, *network, *more]


def test_the_articles_command(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """5000 iterations reduced to 20."""
    assert main(paint("--iterations", "20")) == 0
    assert st.load_image("out.jpg").shape == st.load_image("coffee.png").shape
    assert "trained on unknown" in capsys.readouterr().out


def test_every_option(folder: Path, capsys: pytest.CaptureFixture) -> None:
    words = paint(*FULL)
    words[words.index("coins.png") + 1 : words.index("coins.png") + 1] = ["grass.png"]
    Path("out.jpg").write_text("old")
    assert main(words) == 0
    out = capsys.readouterr().out
    assert [f"evaluation {n}/20: content" in out for n in (5, 10, 15, 20)] == [True] * 4
    assert st.load_image("out.jpg").shape[3] == 48
    assert {p.name for p in folder.glob("step_*")} == {"step_10.png", "step_20.png"}
    table = np.loadtxt("progress.txt")
    assert table.shape == (20, 5) and table[:, 0].tolist() == list(range(1, 21))
    header = Path("progress.txt").read_text().splitlines()[0]
    assert header == "# itr content style tv total"
    np.testing.assert_allclose(table[:, 4], table[:, 1:4].sum(1), rtol=1e-5)
    assert st.load_image("progress.png").shape[2] > 100


def test_the_options_mean_what_they_mean_there(folder: Path) -> None:
    """Each against the same set-up in Python."""
    words = paint(*FULL, "--report", "run.json", "--device", "cpu", "--precision", "exact")
    words[words.index("coins.png") + 1 : words.index("coins.png") + 1] = ["grass.png"]
    assert main(words) == 0
    vgg = st.load_vgg("imagenet-vgg-verydeep-19.mat", device="cpu")
    photo = resize_image(st.load_image("coffee.png"), 48)
    initial = torch.nn.functional.interpolate(
        st.load_image("coins.png"), tuple(photo.shape[2:]), mode="bicubic", antialias=True
    ).clamp(0, 1)
    styles = [
        resize_image(st.load_image(name), round(width * max(shape) / shape[1]), enlarge=True)
        for name, width in (("coins.png", 48), ("grass.png", 24))
        for shape in [st.load_image(name).shape[2:]]
    ]
    result = st.transfer(
        photo, styles, vgg=vgg, recipe="anishathalye", evaluations=20, blend=[1, 3],
        content_weight=5, content_layers={"relu4_2": 0.7, "relu5_2": 0.3}, style_weight=500,
        style_layers={f"relu{n}_1": 2.0 ** (n - 1) for n in range(1, 6)}, tv_weight=100,
        learning_rate=10, beta1=0.8, beta2=0.99, epsilon=1e-7, start=initial, noise_blend=0.2,
        colours="content", pooling="avg", style_scale=[1, 0.5], precision="exact",
    )  # fmt: skip
    result.save("python.png")
    report = json.loads(Path("run.json").read_text())
    ours = [row["total"] for row in result.history]
    theirs = [row["total"] for row in report["history"]]
    assert theirs == pytest.approx(ours, rel=1e-3)
    assert report["settings"]["colours"] == "content"


def test_it_starts_from_nearly_flat_noise_and_keeps_what_was_there(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("out.jpg").write_text("a picture that took hours")
    assert main(paint("--iterations", "2")) == 2
    assert "out.jpg exists; replace it with --overwrite" in capsys.readouterr().err
    assert Path("out.jpg").read_text() == "a picture that took hours"
    seen = []
    st.transfer(
        "coffee.png", "coins.png", recipe="anishathalye", evaluations=1, size=48,
        vgg=make_tiny_vgg(), on_step=lambda step: seen.append(step.image),
    )  # fmt: skip
    spread = seen[0][0].flatten(1).std(1) * 255
    assert spread.tolist() == pytest.approx([0.256] * 3, rel=0.1)
    means = seen[0].mean((2, 3))[0] * 255
    assert means.tolist() == pytest.approx([123.68, 116.779, 103.939], abs=0.05)


def test_noise_is_blended_into_the_content_where_no_start_is_given(folder: Path) -> None:
    words = paint("--iterations", "1", "--initial-noiseblend", "0.5", "--device", "cpu")
    assert main([*words, "--report", "run.json"]) == 0
    settings = json.loads(Path("run.json").read_text())["settings"]
    assert settings["start"] == "content" and settings["noise_blend"] == 0.5


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("out%s.jpg", "out7.jpg"),
        ("out%05d.jpg", "out00007.jpg"),
        ("out{}.jpg", "out7.jpg"),
        ("{:03d}.png", "007.png"),
        ("100%-{}.png", "100%-7.png"),
        ("50% off-%s.png", "50% off-7.png"),
        ("{draft} %d.png", "{draft} 7.png"),
        ("{0.__class__}%s.png", "{0.__class__}7.png"),
    ],
)
def test_only_a_place_for_a_number_means_anything_in_a_name(pattern: str, name: str) -> None:
    assert numbered(pattern, 7) == name


@pytest.mark.parametrize(
    "pattern", ["out.jpg", "%s-%s.png", "%c.png", "%999999999d.png", "{0}.png"]
)
def test_a_name_without_one_place_for_a_number_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="needs one %s where the number goes"):
        numbered(pattern, 7)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--checkpoint-output", "x.png", "--checkpoint-iterations", "1"], "needs one %s"),
        (["--checkpoint-output", "x%s.png"], "--checkpoint-iterations says how often"),
        (["--checkpoint-iterations", "5"], "--checkpoint-output FILE%s where"),
        (["--checkpoint-output", "no/x%s.png", "--checkpoint-iterations", "1"], "no folder"),
        (["--style-blend-weights", "0"], "blend weights are all 0"),
        (["--style-blend-weights", "1", "1"], "2 blend weights for 1 style"),
        (["--style-scales", "1", "2"], "2 style scales for 1 style"),
        (["--content-weight-blend", "2"], "from 0 to 1"),
        (["--content-weight-blend", "1", "--content-layers", "relu1_1"], "give one"),
        (["--style-layer-weight-exp", "0"], "must be above 0"),
        (["--recipe", "anishatalye"], "did you mean anishathalye"),
        (["--network", "coins.png"], "coins.png"),
        (["--initial", "nothing.png"], "nothing.png"),
        (["--width", "0"], "width=0"),
        (["--print-iterations", "0"], "must be at least 1"),
        (["--timelapse", "film.avi"], "film.avi is no film"),
        (["--frames", "4"], "--frames belongs to --timelapse"),
        (["--style-at", "relu1_1=coins.png"], "either --styles or --style-at"),
        (["--masks", "nothing.png"], "nothing.png"),
        (["--checkpoint-output", "a{0.x}.png", "--checkpoint-iterations", "1"], "needs one %s"),
        (["--checkpoint-output", "a%.0s.png", "--checkpoint-iterations", "1"], "needs one %s"),
        (["--checkpoint-output", "a%c.png", "--checkpoint-iterations", "1"], "needs one %s"),
        (["--timelapse", "f.gif", "--frames", "0"], "frames=0"),
        (["--output", "progress.png", "--progress-plot"], "two outputs"),
        (["--report", "progress.txt", "--progress-write"], "two outputs"),
    ],
)
def test_bad_options_are_one_line(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(paint("--iterations", "2", *words)) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_snapshots_never_replace_an_input(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("coffee.png").rename("photo4.png")
    before = Path("photo4.png").read_bytes()
    snapshots = ["--checkpoint-output", "photo%s.png", "--checkpoint-iterations", "2"]
    words = paint("--iterations", "6", *snapshots)
    words[words.index("coffee.png")] = "photo4.png"
    assert main(words) == 2
    assert "would overwrite photo4.png" in capsys.readouterr().err
    assert Path("photo4.png").read_bytes() == before


def test_a_folder_that_goes_away_is_no_reason_to_lose_the_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    Path("kept").mkdir()
    original = ProgressBar.__call__

    def call(self: object, step: object) -> None:
        original(self, step)
        if step.evaluation == 5:
            shutil.rmtree("kept")

    monkeypatch.setattr(ProgressBar, "__call__", call)
    snapshots = ["--checkpoint-output", "kept/%s.png", "--checkpoint-iterations", "2"]
    assert main(paint("--iterations", "8", *snapshots, "--checkpoint", "kept/run")) == 0
    assert capsys.readouterr().err.count("going on without") >= 2
    assert st.load_image("out.jpg").shape == st.load_image("coffee.png").shape


def test_a_report_gives_way_to_what_is_given_now(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    def settings(*words: str) -> dict:
        arguments = ["transfer", "--settings", "first.json", "--output", "o.png"]
        assert main([*arguments, "--report", "now.json", *words]) == 0, capsys.readouterr().err
        return json.loads(Path("now.json").read_text())["settings"]

    small = ["--weights", "pocket", "--device", "cpu", "--evaluations", "2", "--size", "64"]
    words = ["--content", "coffee.png", "--styles", "coins.png", "grass.png", "--output", "o.png"]
    more = ["--style-scales", "1", "0.5", "--blend", "1", "2", "--recipe", "gatys2016"]
    assert main(["transfer", *words, *small, *more, "--report", "first.json"]) == 0
    assert settings("--recipe", "crowsonkb", "--evaluations", "2")["coarse_to_fine"] is True
    powers = settings("--style-layer-weight-exp", "2")["style_layers"]
    assert powers == {f"conv{n}_1": 2.0 ** (n - 1) for n in range(1, 6)}
    assert settings("--width", "48")["size"] is None
    one = settings("--styles", "grass.png")
    assert one["style_scale"] is None and one["blend"] is None
    layered = settings("--style-at", "relu1_1=coins.png", "relu2_1=grass.png")
    assert set(layered["style_layers"]) == {"relu1_1", "relu2_1"}
    report = json.loads(Path("first.json").read_text())
    for change, message in (
        ({"help": True}, "sets 'help', which is no setting"),
        ({"blend": {"relu1_1": [1, 3]}}, "only Python can repeat"),
    ):
        Path("bad.json").write_text(json.dumps(report | {"settings": report["settings"] | change}))
        assert main(["transfer", "--settings", "bad.json", "--output", "o.png"]) == 2
        assert message in capsys.readouterr().err


def test_films_and_snapshots_have_the_results_colours(folder: Path) -> None:
    small = ["--weights", "pocket", "--device", "cpu", "--evaluations", "4", "--size", "64"]
    words = ["--content", "coffee.png", "--styles", "coins.png", "--colours", "content", *small]
    snapshots = ["--checkpoint-output", "s%s.png", "--checkpoint-iterations", "4"]
    kept = ["--checkpoint", "run", "--output", "o.png"]
    assert main(["transfer", *words, *snapshots, *kept]) == 0
    assert Path("s4.png").read_bytes() == Path("o.png").read_bytes()
    film = ["--timelapse", "f.gif", "--output", "o.png"]
    assert main(["transfer", "--resume", "run", *film]) == 0, "one that has come to its end"
    assert Path("f.gif").exists()


def test_styles_by_layer_and_region_on_the_command_line(folder: Path) -> None:
    small = ["--weights", "pocket", "--device", "cpu", "--size", "48", "--evaluations", "2"]
    common = ["transfer", "--content", "coffee.png", *small, "--report", "run.json"]
    layers = ["--style-at", "relu1_1=coins.png", "relu3_1=grass.png", "--style-at"]
    assert main([*common, *layers, "relu3_1=coins.png", "--output", "layers.png"]) == 0
    report = json.loads(Path("run.json").read_text())
    named = ["relu1_1=coins.png", "relu3_1=grass.png", "relu3_1=coins.png"]
    assert report["settings"]["style_at"] == named
    assert main(["transfer", "--settings", "run.json", "--output", "again.png"]) == 0
    assert Path("again.png").read_bytes() == Path("layers.png").read_bytes()
    half = (torch.arange(90) < 45).float().expand(1, 3, 60, 90)
    st.save_image(half, "left.png")
    st.save_image(1 - half, "right.png")
    regions = ["--styles", "coins.png", "grass.png", "--masks", "left.png", "right.png"]
    assert main([*common, *regions, "--colours", "histogram", "--output", "regions.png"]) == 0
    assert main(["transfer", "--settings", "run.json", "--output", "again.png"]) == 0
    assert Path("again.png").read_bytes() == Path("regions.png").read_bytes()
    picture = random_pictures(1, 8, 8)
    st.save_image(0 * picture, "black.png")
    assert main([*common, *regions[:-1], "black.png", "--output", "never.png"]) == 2
    assert not Path("never.png").exists()
