"""Sweeps on real processes: the same bits as one by one, and nothing lost or done twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from conftest import ctrl_c_amid_waiting
from PIL import Image
from test_cli import refused, save_pocket
from torch import Tensor
from workers import make_cluster

import styletutor as st
from styletutor.cli import main
from styletutor.network.weights import POCKET_FILE
from styletutor.sweeps import worker
from styletutor.sweeps.folder import Painted, make_key, make_name
from styletutor.sweeps.grid import Axis, defaults, make_grid
from styletutor.sweeps.sheet import save_sheets
from styletutor.sweeps.worker import Order, fault, paint

pytest.importorskip("distributed", reason="dask is not installed: extra `cluster`")
pytest.importorskip("cryptography", reason="cryptography is not installed: extra `cluster`")

LAYERS = {"content_layers": ["relu2_2"], "style_layers": ["relu1_1", "relu2_1"]}
SMALL = {"size": 40, "evaluations": 3, "weights": "pocket", "device": "cpu", **LAYERS}
WORDS = ["--size", "40", "--weights", "pocket", "--content-layers", "relu2_2", "--style-layers",
         "relu1_1", "--device", "cpu"]  # fmt: skip
posix = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")


@pytest.fixture
def address(cluster: Any) -> str:
    return cluster.scheduler.address


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(path: Path) -> Tensor:
    return (st.load_image(path) * 255).round()


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*_*.*")}


# What a sweep is of.


def test_a_grid_is_a_product_in_order() -> None:
    vary = {"seed": [0, 1], "recipe": ["default", "d2l", "jcjohnson"]}
    axes, points = make_grid(["a.jpg", "b.jpg"], ["c.jpg"], vary, {"size": 64})
    assert [axis.name for axis in axes] == ["content", "style", "seed", "recipe"]
    keys = ("content", "style", "seed", "recipe")
    expected = [
        (c, "c.jpg", s, r) for c in ("a.jpg", "b.jpg") for s in (0, 1) for r in vary["recipe"]
    ]
    assert [tuple(p.settings[k] for k in keys) for p in points] == expected
    assert [p.place for p in points] == sorted(p.place for p in points)
    assert {tuple(p.settings) for p in points} == {(*defaults(), "content", "style")}
    assert all(p.settings["size"] == 64 and p.settings["blend"] is None for p in points)


def test_a_list_among_styles_is_one_mix() -> None:
    axes, points = make_grid("a.jpg", ["b.jpg", ["c.jpg", "d.jpg"], {"relu1_1": "e.jpg"}], {}, {})
    assert [point.settings["style"] for point in points][1] == ["c.jpg", "d.jpg"]
    assert axes[1].labels == ("b", "c + d", "relu1_1=e")


@pytest.mark.parametrize(
    ("styles", "vary", "fixed", "words"),
    [
        ("b", {"style_wieght": [1]}, {}, ["style_wieght", "did you mean 'style_weight'"]),
        ("b", {}, {"checkpoint": "c"}, ["no setting 'checkpoint'"]),
        ("b", {"seed": [1]}, {"seed": 2}, ["seed is both fixed and varied"]),
        ("b", {"seed": []}, {}, ["seed", "at least one"]),
        ("b", {"seed": 3}, {}, ["seed", "a list of values"]),
        ("b", {"seed": [3, 4, 3]}, {}, ["seed has the value 3 twice"]),
        (["x/b.jpg", "x/b.jpg"], {}, {}, ["style has the value b twice"]),
        ([], {}, {}, ["no style picture was given"]),
    ],
)
def test_what_is_no_grid_is_refused(
    styles: Any, vary: dict, fixed: dict, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as error:
        st.sweep("astronaut", styles, tmp_path / "out", vary=vary, **fixed)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_values_that_would_be_called_the_same_are_not() -> None:
    labels = make_grid(["x/a.jpg", "x/a.png", "y/a.jpg"], "b", {"size": [1, 1.5]}, {})[0]
    assert len(set(labels[0].labels)) == 3 and labels[2].labels == ("1", "1.5")


def test_a_key_knows_all_that_makes_a_picture_and_nothing_else() -> None:
    settings = {"content": "aa", "seed": 1, "style_weight": 100}
    key = make_key(settings, "w")
    assert key == make_key({"style_weight": 100.0, "seed": 1, "content": "aa"}, "w")
    others = [{"content": "ab"}, {"seed": 2}, {"style_weight": 100.5}, {"size": 3}]
    keys = [make_key(settings | other, "w") for other in others] + [make_key(settings, "v")]
    assert len({key, *keys}) == 6


@pytest.mark.parametrize(
    "label", ["Zoë", "李小龍", "a/b\\c:d*e?", "con", "..", "", "x" * 400, "é" * 300]
)
def test_names_are_names_on_every_system(label: str) -> None:
    name = make_name([label, "style"], "0123456789ab")
    assert name.endswith("_0123456789") and len(name.encode()) <= 120
    assert not set(name) & set('/\\:*?"<>|\0') and not name.startswith(".")
    assert name != make_name([label, "style"], "a123456789ab")


# What it paints.


def test_pictures_are_those_of_transfer_to_the_bit(
    address: str, tmp_path: Path, one_thread: None
) -> None:
    st.save_image(st.load_image("chelsea"), tmp_path / "Zoë 1.png")
    contents, styles = [tmp_path / "Zoë 1.png", "coffee"], ["coins", ["grass", "stained-glass"]]
    vary = {"start": ["content", "noise"]}
    how = SMALL | {"seed": 3, "style_weight": 2000.0, "style_scale": 0.9}
    out = tmp_path / "deep" / "out"
    swept = st.sweep(contents, styles, out, vary=vary, scheduler=address, **how)
    assert swept.fresh == len(swept.pictures) == len(swept.points) == 8 and not swept.failed
    vgg = st.load_vgg("pocket", device="cpu")
    for point in swept.points:
        given = {n: v for n, v in point.settings.items() if n != "weights"}
        result = st.transfer(**given, vgg=vgg)
        painted = swept.pictures[point.place]
        result.save(tmp_path / "one.png")
        assert torch.equal(pixels(painted.path), pixels(tmp_path / "one.png"))
        report = json.loads(painted.report.read_text("utf-8"))
        usual = json.loads(json.dumps(result.report()))
        for name in usual.keys() - {"seconds"}:
            assert report[name] == usual[name], name
    assert len(list(out.glob("*.png"))) == 9 and swept.sheets == [out / "contact-sheet.png"]


def test_a_report_of_a_sweep_paints_the_same_again(
    address: str, tmp_path: Path, one_thread: None
) -> None:
    swept = st.sweep("coffee", "coins", tmp_path, scheduler=address, **SMALL)
    (painted,) = swept.pictures.values()
    again = ["--settings", str(painted.report), "--output", str(tmp_path / "again.png")]
    assert main(["transfer", *again, "--device", "cpu"]) == 0
    assert torch.equal(pixels(painted.path), pixels(tmp_path / "again.png"))


def test_only_what_is_not_there_whole_is_painted(address: str, tmp_path: Path) -> None:
    """Told by settings and bytes: a name alone means nothing, nor does the order of arguments."""
    st.save_image(st.load_image("coins", 60), tmp_path / "c.png")
    out, contents = tmp_path / "out", ["coffee", tmp_path / "c.png"]
    how = {"scheduler": address, **SMALL}

    def sweep(contents: list, seeds: list[int], **more: Any) -> tuple[st.Sweep, set[str]]:
        new = []
        seen = {"on_picture": lambda painted: new.append(painted.path.name)}
        vary = {"start": ["noise"], "seed": seeds}
        swept = st.sweep(contents, "grass", out, vary=vary, **how | seen | more)
        assert not swept.failed and swept.fresh == len(new) == len(set(new))
        return swept, set(new)

    first, new = sweep(contents, [0, 1])
    assert len(new) == 4
    names = {point.place: first.pictures[point.place].path for point in first.points}
    before = stamps(out)
    damaged, gone, strange, untouched = (names[place] for place in sorted(names))
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    gone.unlink()
    report = json.loads(strange.with_suffix(".json").read_text("utf-8"))
    report["sweep"]["key"] = "of another picture with this name"
    strange.with_suffix(".json").write_text(json.dumps(report))
    assert sweep(contents, [0, 1])[1] == {damaged.name, gone.name, strange.name}
    assert stamps(out)[untouched.name] == before[untouched.name]
    assert damaged.read_bytes() == data
    assert len(sweep(contents, [0, 1, 2])[1]) == 2, "a larger grid paints what is new in it"
    assert sweep(contents[::-1], [2, 1, 0])[1] == set()
    assert len(sweep(contents, [0], weights="random")[1]) == 2
    st.save_image(st.load_image("coins", 50), tmp_path / "c.png")
    assert len(sweep(contents, [0])[1]) == 1, "the same name, another picture"


def test_a_bad_picture_ends_none_of_the_others(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    st.save_image(st.load_image("coffee", 60), photos / "good.png")
    data = (photos / "good.png").read_bytes()
    (photos / "half.png").write_bytes(data[: len(data) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    words = ["sweep", "--content-folder", str(photos), "--styles", "coins", "--output", str(out)]
    words += [*WORDS, "--evaluations", "2", "3", "--scheduler", address]
    assert main(words) == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert len(lines) == 2 and all(line.startswith("styletutor: error: ") for line in lines)
    assert "half" in said.err and "get a whole copy" in said.err and "is empty" in said.err
    assert str(out.parent / "photos" / "half.png") in said.err
    assert len(list(out.glob("good*.png"))) == 2 and (out / "contact-sheet.png").exists()
    assert len(list(out.glob("*.png"))) == 3 and not list(out.glob(".*"))
    st.save_image(st.load_image("coffee", 50), photos / "half.png")
    (photos / "empty.jpg").unlink()
    before = stamps(out)
    assert main(words) == 0
    assert before.items() <= stamps(out).items() and len(list(out.glob("half*.png"))) == 2


@pytest.mark.parametrize("lengths", [(1, 1, 1), (1, 5, 1), (3, 11, 1), (2, 3, 4), (2, 12, 2)])
def test_a_contact_sheet_has_each_picture_at_its_place(
    lengths: tuple[int, int, int], tmp_path: Path
) -> None:
    """Pictures of one colour each, found again: the last axis to the right, the one before down."""
    names = ("content", "style", "seed")
    axes = [
        Axis(name, tuple(range(n)), tuple(f"${name}_{at}" for at in range(n)))
        for name, n in zip(names, lengths, strict=True)
    ]
    places = list(itertools.product(*map(range, lengths)))
    missing = places.pop() if len(places) > 1 else None
    pictures, colours = {}, {}
    for number, place in enumerate(places):
        colours[place] = (40 + number, 255 - number, 7 * number % 256)
        pictures[place] = Painted(tmp_path / f"{number}.png")
        Image.new("RGB", (40, 30 + 20 * place[0]), colours[place]).save(pictures[place].path)
        report = {"backbone": {"name": "pocket"}, "evaluations": 3}
        pictures[place].report.write_text(json.dumps(report))
    sheets = save_sheets(axes, pictures, {missing: "why"} if missing else {}, tmp_path)
    assert all(sheet.exists() for sheet in sheets) and len(set(sheets)) == len(sheets)
    found = {}
    for page, sheet in enumerate(sheets):
        pixels = np.asarray(Image.open(sheet).convert("RGB"))[::4, ::4]
        for place, colour in colours.items():
            rows, columns = np.nonzero((pixels == colour).all(2))
            if len(rows) > 500:
                assert place not in found
                found[place] = (page, int(rows.mean()), int(columns.mean()))
    assert found.keys() == pictures.keys()
    varied = [at for at, n in enumerate(lengths) if n > 1]
    for one, other in itertools.combinations(places, 2):
        differ = [at for at in varied if one[at] != other[at]]
        if len(differ) == 1 and max(other) < 8:
            (page, y, x), (page_2, y_2, x_2) = found[one], found[other]
            if differ == varied[-1:]:
                assert (page, y) == (page_2, y_2) and x < x_2
            else:
                assert x == x_2 and (page, y) < (page_2, y_2)


# What may go wrong on the way.


@posix
def test_a_worker_that_dies_is_no_loss(cluster: Any, address: str, tmp_path: Path) -> None:
    seen: list[str] = []

    def kill(painted: Any) -> None:
        seen.append(painted.path.name)
        if len(seen) == 2:
            os.kill(min(cluster.run(os.getpid).values()), signal.SIGKILL)

    how = {"vary": {"seed": range(6)}, "start": "noise", "scheduler": address, **SMALL}
    how |= {"evaluations": 12}
    swept = st.sweep("coffee", "coins", tmp_path / "a", on_picture=kill, **how)
    assert not swept.failed and len(seen) == len(set(seen)) == len(swept.pictures) == 6
    whole = st.sweep("coffee", "coins", tmp_path / "b", **how)
    for place, painted in swept.pictures.items():
        assert painted.path.read_bytes() == whole.pictures[place].path.read_bytes()


def command(*words: str) -> list[str]:
    code = "from styletutor.cli import main\nif __name__ == '__main__': raise SystemExit(main())"
    return [sys.executable, "-c", code, *words]


def started(out: Path, pictures: int, *more: str) -> tuple[subprocess.Popen, list[str]]:
    """A sweep over six seeds that has saved so many pictures."""
    words = ["sweep", "--content", "coffee", "--styles", "coins", "--start", "noise", "--output"]
    words += [str(out), *WORDS, "--seed", *"012345"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command(*words, *more), text=True, start_new_session=True, **pipes)
    saved = (line for line in iter(process.stdout.readline, "") if line.startswith("saved "))
    for _ in range(pictures):
        next(saved, None)
    return process, words


@posix
def test_killed_and_resumed(address: str, tmp_path: Path) -> None:
    """Of the program, and of its workers as well: they end with it."""
    more = ["--evaluations", "80"]
    process, words = started(tmp_path, 1, "--workers", "2", *more)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert len(family) >= 2 and not psutil.wait_procs(family, timeout=30)[1]
    done = list(tmp_path.glob("*.json"))
    before = {p.name: p.stat().st_mtime_ns for r in done for p in (r, r.with_suffix(".png"))}
    assert 1 <= len(done) < 6
    assert main([*words, *more, "--scheduler", address]) == 0
    assert before.items() <= stamps(tmp_path).items()
    assert len(list(tmp_path.glob("*.json"))) == 6


@posix
@pytest.mark.parametrize("where", ["here", "cluster"])
def test_interrupted_and_resumed(where: str, address: str, tmp_path: Path) -> None:
    """As by Ctrl-C, which a terminal sends to all processes in it.

    The workers of a cluster drop what nobody waits for: else the second sweep would hang.
    """
    there = ["--scheduler", address]
    more = ["--evaluations", "2", "1000000", *(there if where == "cluster" else ["--workers", "2"])]
    process, words = started(tmp_path, 6, *more)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert said == "styletutor: interrupted; the same command goes on where it stopped\n"
    assert process.returncode == 130 and (tmp_path / "contact-sheet.png").exists()
    before = stamps(tmp_path)
    assert main([*words, "--evaluations", "2", "3", *there]) == 0
    assert before.items() <= stamps(tmp_path).items() and len(before) == 12
    assert len(list(tmp_path.glob("*.json"))) == 12


def test_an_interruption_amid_waiting_is_one(address: str, tmp_path: Path) -> None:
    how = {"vary": {"seed": range(3)}, "start": "noise", "scheduler": address, **SMALL}
    stop = {"on_picture": lambda painted: ctrl_c_amid_waiting()}
    swept = st.sweep("coffee", "coins", tmp_path, **how, **stop)
    assert swept.interrupted and swept.fresh == 1
    assert st.sweep("coffee", "coins", tmp_path, **how).fresh == 2


def test_an_error_in_on_picture_is_not_swallowed(address: str, tmp_path: Path) -> None:
    def fail(painted: Painted) -> None:
        raise RuntimeError("of the caller's")

    how = {"scheduler": address, "on_picture": fail, **SMALL}
    with pytest.raises(RuntimeError, match="of the caller's"):
        st.sweep("coffee", "coins", tmp_path, **how)


def test_a_scheduler_that_is_gone_is_named(tmp_path: Path) -> None:
    with make_cluster(1, processes=False) as made:
        tcp = {"scheduler": made.scheduler_address, **SMALL}
        with pytest.raises(ConnectionError, match="the same command goes on"):
            st.sweep("coffee", "coins", tmp_path, vary={"seed": range(9)}, start="noise",
                     on_picture=lambda _: made.close(), **tcp)  # fmt: skip
    assert list(tmp_path.glob("*.json"))


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on files stands for a full disk")
def test_a_full_disk_is_said_and_damages_nothing(address: str, tmp_path: Path) -> None:
    words = ["sweep", "--content", "coffee", "--styles", "coins", "grass", *WORDS, "--evaluations"]
    words += ["2", "--output", str(tmp_path), "--scheduler", address]

    def full() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    done = subprocess.run(command(*words), preexec_fn=full, text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith("styletutor: error: cannot write ")
    assert len(done.stderr.splitlines()) == 1 and "make room" in done.stderr
    assert not list(tmp_path.iterdir())
    assert main(words) == 0 and len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("address", ["silent", "nonsense"])
def test_a_scheduler_that_does_not_answer_is_refused(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One that listens and says nothing as well, for which dask's own client waits for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if address == "silent":
            address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        words = ["sweep", "--content", "coffee", "--styles", "coins", "--output", str(tmp_path)]
        said = refused(capsys, [*words, *WORDS, "--scheduler", address])
    assert "no scheduler answers at" in said and address in said


def test_workers_with_other_weights_are_refused(
    cluster: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their hash, before anything is painted, and whatever they are called."""
    save_pocket(tmp_path / "ours.pth")
    state = torch.load(tmp_path / "ours.pth")
    state["features.0.bias"] += 0.01
    torch.save(state, tmp_path / "theirs.pth")
    cluster.run(os.environ.__setitem__, "STYLETUTOR_WEIGHTS", str(tmp_path / "theirs.pth"))
    monkeypatch.setenv("STYLETUTOR_WEIGHTS", str(tmp_path / "ours.pth"))
    how = SMALL | {"weights": "vgg19", "scheduler": address}
    with pytest.raises(ValueError, match=r"the worker tcp://\S+ has other weights 'vgg19'"):
        st.sweep("coffee", "coins", tmp_path / "out", **how)
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(ValueError, match=r"the worker tcp://\S+ cannot load the weights"):
        lost = tmp_path / "only here.pth"
        shutil.copy(tmp_path / "ours.pth", lost)
        with monkeypatch.context() as patch:
            patch.setattr("styletutor.sweeps.sweep._known", lambda *_: ("nowhere.pth", "0" * 64))
            st.sweep("coffee", "coins", tmp_path / "out", **how | {"weights": str(lost)})


def test_another_version_does_not_begin() -> None:
    sha256 = st.load_vgg("pocket", device="cpu").sha256
    assert fault("pocket", sha256, st.__version__, "cpu") == ""
    assert "has styletutor" in fault("pocket", sha256, "0.0.0", "cpu")
    order = Order(settings={}, weights="pocket", sha256=sha256, device="cpu", threads=1)
    with pytest.raises(ValueError, match="a worker has styletutor"):  # one that came later
        paint(Order(**vars(order) | {"version": "0.0.0"}))
    with pytest.raises(ValueError, match="a worker has other weights"):
        paint(Order(**vars(order) | {"sha256": "1" * 64}))


def test_a_worker_loads_a_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    monkeypatch.setattr(worker, "load_vgg", lambda *a, **k: loads.append(a) or st.load_vgg(*a, **k))
    worker._loaded.cache_clear()
    sha256 = hashlib.sha256(POCKET_FILE.read_bytes()).hexdigest()
    for _ in range(3):
        assert fault("pocket", sha256, st.__version__, "cpu") == ""
    assert len(loads) == 1
    worker._loaded.cache_clear()


def test_without_dask_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ["sweep", "--content", "coffee", "--styles", "coins", "--output", str(tmp_path / "o")]
    said = refused(capsys, words)
    assert said.startswith("styletutor: error: distributed is not installed")
    assert "pip install -e '.[cluster]'" in said and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--content", "coffee", "--content-folder", "{empty}"], ["there are no pictures in"]),
        (["--content-folder", "{empty}/no"], ["there is no folder"]),
        ([], ["--content or --content-folder must be given"]),
        (["--content", "cofee"], ["cofee", "coffee"]),
        (["--content", "coffee", "--workers", "0"], ["workers=0"]),
        (["--content", "coffee", "--workers", "2", "--scheduler", "x"], ["either scheduler or"]),
        (["--content", "coffee", "--weights", "poket"], ["poket", "did you mean 'pocket'"]),
        (["--content", "coffee", "--style-wieght", "1"], ["unknown arguments"]),
    ],
)
def test_bad_input_is_one_line(
    more: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    more = [word.format(empty=tmp_path / "empty") for word in more]
    given = ["sweep", "--styles", "coins", "--size", "40", "--output", str(tmp_path / "out")]
    said = refused(capsys, [*given, *more])
    assert all(word in said for word in words), said
    if "--styles" not in more:
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_no_style_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    said = refused(capsys, ["sweep", "--content", "coffee", "--output", str(tmp_path)])
    assert "--styles" in said
    (tmp_path / "file").write_text("x")
    words = ["sweep", "--content", "coffee", "--styles", "coins", *WORDS, "--output"]
    assert "is a file, expected a folder" in refused(capsys, [*words, str(tmp_path / "file")])


def test_the_environment_is_left_as_it_was(tmp_path: Path) -> None:
    """dask sets OMP_NUM_THREADS for its processes in this one; others would start with it."""
    before = dict(os.environ)
    st.sweep("coffee", "stained-glass", tmp_path, workers=1, progress=False, **SMALL)
    assert dict(os.environ) == before
