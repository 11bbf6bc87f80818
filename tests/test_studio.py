"""The transfer studio, driven by its traits as a browser drives it, and what it is made of."""

import base64
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from PIL import Image

import styletutor as st
from styletutor import widgets
from styletutor.cli import main
from styletutor.cookbook.published import recipes
from styletutor.descent.starts import make_start
from styletutor.loss.meters import distances
from styletutor.widgets.live import Pace
from styletutor.widgets.studio.desk import OFF, Desk, fader, home, strips
from styletutor.widgets.studio.film import Film
from styletutor.widgets.studio.panel import TransferStudio
from styletutor.widgets.studio.saving import save_run

PHOTO, ART, OTHER = (
    (255 * random_pictures(1, 32, 48, seed=seed)).round() / 255 for seed in (1, 2, 3)
)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[TransferStudio]:
    """On a small network, with all five style layers; stopped at the end."""
    panel = widgets.TransferStudio(
        PHOTO, [ART, OTHER], vgg=make_tiny_vgg(), size=64, evaluations=30, folder=tmp_path
    )
    yield panel
    panel.close()


def browser_sets(widget: object, **traits: object) -> None:
    """As a message from the browser would."""
    widget.set_state(traits)


def move(studio: TransferStudio, **faders: float) -> None:
    board = studio.controls.board
    browser_sets(board, values={**board.values, **faders})


def finished(studio: TransferStudio) -> st.Result:
    result = studio.wait(timeout=60)
    studio.run._thread.join()  # until the panel has shown it
    return result


def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come in 30 seconds")


class Gate:
    """The run that starts next waits at an evaluation, until it may go on to another."""

    def __init__(self, studio: TransferStudio, show_all: bool = False) -> None:
        self.arrived, self.limit, shown = threading.Event(), 1.0, studio._shown

        def hold(run: object, step: object, pace: object) -> None:
            if show_all:  # a fresh pace is always due
                pace, run.keeping = Pace(), Pace()
            shown(run, step, pace)
            while step.evaluation >= self.limit and not run._stopping:
                self.arrived.set()
                time.sleep(0.002)

        studio._shown = hold

    def go_to(self, evaluation: int) -> None:
        self.arrived.clear()
        self.limit = evaluation
        assert self.arrived.wait(30)

    def open(self) -> None:
        self.limit = float("inf")


def test_start_shows_picture_curves_and_figures(studio: TransferStudio) -> None:
    assert studio.pause_button.disabled and studio.stop_button.disabled
    studio.start_button.click()
    result = finished(studio)
    assert Image.open(io.BytesIO(studio.view.value)).size == (48, 32)
    assert studio.gauges.terms.x[-1] == len(result.history) == 30
    names = [one["name"] for one in studio.gauges.layers.series]
    assert len(names) == 6 and "s relu5_1" in names
    assert "evaluation 30 of 30" in studio.gauges.figures.text
    assert re.search(r"content kept -?\d+ % · style removed [\d.]+ %", studio.gauges.figures.text)
    assert studio.note.text.startswith("done") and "tiny, trained on nothing" in studio.view.caption
    assert studio.pause_button.disabled and studio.stop_button.disabled


def test_the_meters_say_what_the_run_does(studio: TransferStudio) -> None:
    result = finished(studio.start())
    at = studio.controls.board
    assert sum(at.terms.values()) == pytest.approx(1)
    assert {"relu1_1", "relu5_1", "style", "content relu4_2"} <= set(at.pulls)
    first, last = result.history[0]["parts"], result.history[-1]["parts"]
    for layer in ("relu1_1", "relu5_1"):
        gone = 1 - last[f"style {layer}"] / first[f"style {layer}"]
        assert at.removed[layer] == pytest.approx(gone, abs=1e-3)
    assert at.removed["content relu4_2"] <= 1


def test_what_is_gone_is_right_at_every_size(tmp_path: Path) -> None:
    """From noise a large picture begins small; the shares go on where they were."""
    panel = widgets.TransferStudio(
        "astronaut", "grass", vgg=make_tiny_vgg(), size=256, evaluations=20, start="noise"
    )
    result = finished(panel.start())
    sizes = {tuple(row["size"]) for row in result.history}
    assert len(sizes) > 1, "it began with a smaller picture"
    objective = panel.run.step.objective
    noise = make_start("noise", panel.run.step.image, 0)
    start, end = distances(objective, noise), distances(objective, panel.run.step.image)
    for layer in ("relu1_1", "relu4_1"):
        gone = 1 - float(end[f"style {layer}"] / start[f"style {layer}"])
        assert panel.controls.board.removed[layer] == pytest.approx(gone, abs=1e-3)
    kept = panel.run.film.kept[0]
    panel.scrub.set_state({"value": 0})
    panel.fork()
    assert finished(panel).history[: kept.evaluation] == result.history[: kept.evaluation]
    panel.close()


def test_faders_count_at_once(studio: TransferStudio) -> None:
    gate = Gate(studio)
    studio.start()
    gate.go_to(3)
    move(studio, style=1.0, tv=0.0, relu1_1=3.0)
    gate.go_to(6)
    browser_sets(studio.controls.board, muted=["relu2_1"])
    gate.go_to(9)
    browser_sets(studio.controls.board, solo=["relu3_1"])
    gate.open()
    result = finished(studio)
    rows = {row["evaluation"]: row["weights"] for row in result.turned}
    assert rows[4]["style"] == [400.0] and rows[4]["tv"] == [5.0]
    assert rows[4]["style relu1_1"] == [pytest.approx(3 / 7)]
    assert rows[7]["style relu2_1"] == [0.0]
    assert rows[7]["style relu1_1"] == [pytest.approx(3 / 6)], "the others share what it had"


def test_every_setting_reaches_the_run(studio: TransferStudio) -> None:
    controls = studio.controls
    controls.recipe.set_state({"index": list(recipes).index("gatys-notebook")})
    controls.origin.set_state({"index": 1})
    for control, value in (
        (controls.size, 80),
        (controls.evaluations, 3),
        (controls.seed, 5),
    ):
        control.set_state({"value": value})
    move(studio, relu2_1=0.5)
    settings = finished(studio.start()).settings
    assert settings["recipe"] == "gatys-notebook" and settings["start"] == "noise"
    assert (settings["size"], settings["evaluations"], settings["seed"]) == (80, 3, 5)
    assert settings["style_layers"]["relu2_1"] == 0.5, "these weights are not shares"
    assert settings["style_layers"]["relu1_1"] == 1.0


def test_weights_are_chosen(studio: TransferStudio) -> None:
    weights = studio.controls.weights
    assert weights.options[0] == "tiny" and {"pocket", "random"} <= set(weights.options)
    weights.set_state({"index": weights.options.index("random")})
    studio.controls.evaluations.value = 2
    assert finished(studio.start()).backbone["name"] == "random"


def test_the_settings_say_what_each_network_costs(studio: TransferStudio) -> None:
    controls = studio.controls
    assert not controls.costs.text, "measured when somebody looks, not before"
    controls.set_state({"selected_index": controls.titles.index("Settings")})
    controls._measuring.join()
    said = controls.costs.text
    names = [name for name in controls.weights.options if name != "random"]
    assert said.count(" s with ") == len(names) and "256 px" in said
    assert all(f"with {name}" in said for name in names)
    for index in (0, controls.titles.index("Settings")):
        controls.set_state({"selected_index": index})
    assert controls.costs.text == said, "once is enough"


def test_pictures_are_chosen(studio: TransferStudio) -> None:
    contents, styles = studio.controls.contents, studio.controls.styles
    browser_sets(contents.gallery, selected=[contents.pictures.index("coffee")])
    browser_sets(styles.gallery, selected=[styles.pictures.index("grass")])
    assert studio.controls.board.styles == ["grass"]
    studio.controls.evaluations.value = 2
    settings = finished(studio.start()).settings
    assert (settings["content"], settings["styles"]) == ("coffee", ["grass"])


def test_a_style_for_each_layer(studio: TransferStudio) -> None:
    studio.controls.evaluations.value = 2
    assert "styles" in finished(studio.start()).settings, "a blend, if no layer has its own"
    browser_sets(studio.controls.board, sources={"relu1_1": 0, "relu4_1": 1, "relu5_1": -1})
    given = finished(studio.start()).settings["style_at"]
    of = {}
    for row in given:
        layer, _, picture = row.partition("=")
        of.setdefault(layer, []).append(picture)
    assert of["relu1_1"] != of["relu4_1"] and len(of["relu1_1"]) == 1
    assert len(of["relu5_1"]) == len(of["relu2_1"]) == 2


def test_a_layer_keeps_its_style_while_others_go(studio: TransferStudio) -> None:
    gallery, board = studio.controls.styles.gallery, studio.controls.board
    first, second = gallery.chosen
    third = studio.controls.styles.pictures.index("grass")
    browser_sets(gallery, selected=[first, second, third])
    browser_sets(board, sources={"relu1_1": 0, "relu2_1": 1, "relu5_1": 2})
    browser_sets(gallery, selected=[first, third])
    assert board.sources == {"relu1_1": 0, "relu5_1": 1}, "relu2_1 has lost its picture"


def test_nothing_chosen_is_said(studio: TransferStudio) -> None:
    browser_sets(studio.controls.styles.gallery, selected=[])
    studio.start_button.click()
    assert "no style picture is chosen" in studio.note.text and "st-error" in studio.note.value
    assert studio.run is None


def test_pause_and_continue(studio: TransferStudio) -> None:
    studio.controls.evaluations.value = 1000
    studio.start()
    until(lambda: studio.run.step)
    studio.pause_button.click()
    assert studio.run.state == "paused" and studio.pause_button.description == "Continue"
    time.sleep(0.2)
    held = studio.run.step.evaluation
    time.sleep(0.2)
    assert studio.run.step.evaluation == held
    studio.pause_button.click()
    until(lambda: studio.run.step.evaluation > held)
    studio.stop_button.click()
    assert finished(studio).interrupted


def test_after_a_stop_it_goes_on_to_the_same_picture(studio: TransferStudio) -> None:
    whole = finished(studio.start())
    gate = Gate(studio)
    studio.start()
    gate.go_to(11)
    studio.stop_button.click()
    stopped = finished(studio)
    assert len(stopped.history) == 11 and "Continue goes on" in studio.note.text
    assert studio.pause_button.description == "Continue" and not studio.pause_button.disabled
    gate.open()
    studio.pause_button.click()
    result = finished(studio)
    assert torch.equal(result.image, whole.image) and result.history == whole.history
    assert studio.gauges.terms.x[-1] == 30


def test_scrub_and_fork(studio: TransferStudio) -> None:
    whole = finished(studio.start())
    kept = studio.run.film.kept
    assert studio.scrub.max == len(kept) - 1 >= 1 and kept[-1].evaluation == 30
    studio.scrub.set_state({"value": 0})
    assert studio.view.value == kept[0].picture
    assert studio.gauges.terms.at == kept[0].evaluation
    move(studio, style=2.0)
    studio.fork_button.click()
    result = finished(studio)
    from_here = kept[0].evaluation
    assert result.history[:from_here] == whole.history[:from_here]
    assert result.turned[0]["weights"]["style"] == [4000.0]
    assert not torch.equal(result.image, whole.image)
    assert studio.view.other == kept[-1].picture, "what was is A"
    assert "style weight 40 → 4e+03" in studio.note.text


def test_a_fork_of_another_recipe_is_refused(studio: TransferStudio) -> None:
    finished(studio.start())
    frames = len(studio.run.film.kept)
    studio.controls.recipe.value = "d2l"
    studio.scrub.set_state({"value": 0})
    studio.fork_button.click()
    assert "recipe was changed" in studio.note.text
    assert len(studio.run.film.kept) == frames and not studio.view.other, "all is as it was"


def test_the_last_frame_has_no_future(studio: TransferStudio) -> None:
    result = finished(studio.start())
    studio.fork_button.click()
    assert "this is the last evaluation" in studio.note.text
    assert studio.wait() is result and studio.pause_button.disabled


def test_a_frame_stays_on_show_while_others_go(studio: TransferStudio) -> None:
    gate = Gate(studio, show_all=True)
    studio.start()
    film = studio.run.film
    film.most = 4
    gate.go_to(3)
    studio.scrub.set_state({"value": 1})
    assert studio.view.alt == "the picture after 2 evaluations"
    for evaluation in range(4, 28):
        gate.go_to(evaluation)
        on_show = film.kept[studio.scrub.place(film)].evaluation
        assert not studio.scrub.newest and on_show < film.kept[-1].evaluation
        assert studio.view.alt == f"the picture after {on_show} evaluations"
        assert film.stride > 1 or on_show == 2
    gate.open()
    finished(studio)
    assert len(film.kept) <= 4 and film.stride > 1


def test_another_recipe_leaves_the_run_alone(studio: TransferStudio) -> None:
    gate = Gate(studio)
    studio.start()
    gate.go_to(5)
    studio.controls.recipe.value = "gatys-notebook"
    move(studio, style=2.0)
    studio.balance_button.click()
    assert "recipe was changed" in studio.note.text
    gate.open()
    result = finished(studio)
    assert not result.turned and result.settings["recipe"] == "default"


def test_a_run_that_was_replaced_touches_nothing(studio: TransferStudio) -> None:
    """The old one is in the midst of looking when another recipe is started, or all is reset."""
    entered, leave = threading.Event(), threading.Event()
    old = studio.make_run()
    look = old.reading.look

    def slow(*given: object) -> object:
        entered.set()
        assert leave.wait(30)
        return look(*given)

    old.reading.look = slow
    studio.drive(old)
    assert entered.wait(30)
    studio.controls.recipe.value = "d2l"
    finished(studio.start())
    new, text = studio.run, studio.gauges.figures.text
    assert set(new.reading.first) >= {"content relu4_4"}
    leave.set()
    assert old.wait(30).interrupted and studio.run is new
    assert studio.gauges.figures.text == text and studio.note.text == "done"


def test_what_a_browser_sends_is_no_more_than_it_may_be(studio: TransferStudio) -> None:
    board = studio.controls.board
    for bad in ("abc", None, 10**9, float("inf"), float("nan"), -(10**9), [1], True):
        browser_sets(board, values={"style": bad, "relu1_1": bad, "nonsense": bad})
        desk = studio.controls.desk
        assert 0.4 <= desk.style_weight() <= 4000 and 0 <= sum(desk.style_layers().values()) <= 1.01
    for bad in ("x", 0.5, [1], 10**9):
        browser_sets(board, sources={"relu1_1": bad})
        assert studio.controls.arguments()[0][1] != {}
    for bad in (["a"], [0.5], [None], [[0]], [10**9], [0, 1, 2, 3] * 500):
        browser_sets(studio.controls.styles.gallery, selected=bad)
        assert len(studio.controls.styles.chosen) <= 3
    browser_sets(studio.controls.styles.gallery, selected=[0])
    studio.controls.evaluations.value = 2
    finished(studio.start())
    for bad in (-50, 1.5, 10**9, float("nan")):
        browser_sets(studio.scrub, value=bad)
    browser_sets(studio.controls.size, value=10**9)
    assert studio.controls.settings["size"] == 1024


def test_a_refused_start_is_raised_and_leaves_the_run_alone(studio: TransferStudio) -> None:
    gate = Gate(studio)
    run = studio.start().run
    gate.go_to(3)
    browser_sets(studio.controls.styles.gallery, selected=[])
    with pytest.raises(ValueError, match="no style picture"):
        studio.start().wait()
    gate.open()
    assert not run.wait(timeout=30).interrupted


def test_out_of_memory_is_said(studio: TransferStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "on_every_step", lambda run, step: give_up(step))

    def give_up(step: object) -> None:
        if step.evaluation == 3:
            raise MemoryError

    with pytest.warns(UserWarning, match="out of memory"):
        finished(studio.start())
    assert studio.note.text == "out of memory after 3 evaluations; choose a smaller size"


def test_a_meter_without_memory_ends_nothing(
    studio: TransferStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("styletutor.widgets.studio.gauges.pulls", none_left)
    assert not finished(studio.start()).interrupted
    assert studio.note.text == "done" and not studio.controls.board.pulls


def test_an_error_in_showing_is_not_silent(
    studio: TransferStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio.gauges, "draw", lambda *_: 1 / 0)
    studio.start()
    with pytest.raises(ZeroDivisionError):
        studio.wait(timeout=30)
    studio.run._thread.join()
    assert "ZeroDivisionError" in studio.note.text and studio.stop_button.disabled


def test_keep_and_compare(studio: TransferStudio) -> None:
    studio.keep_button.click()
    assert "there is no picture yet" in studio.note.text
    finished(studio.start())
    before = studio.view.value
    studio.keep_button.click()
    assert studio.view.other == before and studio.view.tags == ["A", "now"]
    browser_sets(studio.view, divider=0.25)
    move(studio, style=-1.0)
    finished(studio.start())
    assert studio.note.text == "done; A and now differ in: style weight 40 → 4"
    assert studio.view.other == before != studio.view.value and studio.view.divider == 0.25


def test_balance_now(studio: TransferStudio) -> None:
    studio.balance_button.click()
    assert "nothing pulls yet" in studio.note.text
    studio.controls.origin.value = "noise"
    gate = Gate(studio)
    studio.start()
    gate.go_to(6)
    until(lambda: studio.run.reading.lengths)
    lengths = dict(studio.run.reading.lengths)
    studio.balance_button.click()
    factor = lengths["content"] / lengths["style"]
    assert studio.controls.board.values["style"] == pytest.approx(fader(factor), abs=1e-6)
    gate.go_to(9)
    studio.stop()
    turned = finished(studio).turned
    assert turned[-1]["weights"]["style"] == [pytest.approx(40 * 10 ** fader(factor), rel=1e-5)]


def test_reset(studio: TransferStudio) -> None:
    move(studio, style=1.0)
    studio.controls.size.value = 128
    studio.controls.recipe.value = "d2l"
    studio.controls.weights.value = "random"
    studio.controls.evaluations.value = 1000
    run = studio.start().run
    studio.reset_button.click()
    assert run.wait(timeout=30).interrupted
    assert studio.controls.weights.value == "tiny"
    assert studio.controls.recipe.value == "default" and studio.controls.size.value == 64
    assert studio.controls.board.values == home(recipes["default"])
    assert studio.view.alt == "the content picture"
    assert studio.run is None


def test_brackets_in_a_name_mean_themselves(tmp_path: Path) -> None:
    result = st.reconstruct_content(
        random_pictures(1, 16, 16), "relu1_1", vgg=make_tiny_vgg(), evaluations=1, progress=False
    )
    for number in (1, 2):
        assert save_run(result, [], tmp_path, name="[ab]")[0].name == f"[ab]-{number}.png"


def test_save_writes_what_makes_it_again(
    studio: TransferStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert studio.save() == [] and "no finished picture" in studio.note.text
    studio.controls.weights.value = "random"
    large = studio.controls.contents.add("large", random_pictures(1, 90, 120, seed=7))
    browser_sets(studio.controls.contents.gallery, selected=[large])
    browser_sets(studio.controls.board, sources={"relu2_1": 1})
    gate = Gate(studio)
    studio.start()
    gate.go_to(8)
    move(studio, style=1.5)
    gate.go_to(12)
    studio.stop()
    finished(studio)
    studio.save_button.click()
    assert "transfer-1.png" in studio.note.text
    written = {path.name for path in tmp_path.iterdir()}
    sources = {f"transfer-1-source-{n}.png" for n in (1, 2, 3)}
    assert written == {"transfer-1.png", "transfer-1.json", *sources}
    studio.save_button.click()
    assert (tmp_path / "transfer-2.png").exists(), "nothing is overwritten"
    command = ["transfer", "--settings", str(tmp_path / "transfer-1.json")]
    again = tmp_path / "again.png"
    assert main([*command, "--output", str(again), "--device", "cpu"]) == 0
    assert again.read_bytes() == (tmp_path / "transfer-1.png").read_bytes()


def test_a_page_without_a_folder_offers_downloads(studio: TransferStudio) -> None:
    studio.folder = None
    studio.controls.evaluations.value = 2
    result = finished(studio.start())
    assert studio.save() == []
    data = re.search(r'download="transfer.png" href="data:image/png;base64,([^"]+)"',
                     studio.downloads.value)  # fmt: skip
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as saved:
        assert saved.size == (48, 32)
    data = re.search(r'download="transfer.json" href="data:[^,]+,([^"]+)"', studio.downloads.value)
    report = json.loads(base64.b64decode(data[1]))
    assert report["evaluations"] == len(result.history)
    assert report["settings"]["content"] == "transfer-source-1.png"
    assert 'download="transfer-source-3.png"' in studio.downloads.value


def test_an_error_in_the_thread_is_one_line(studio: TransferStudio) -> None:
    small = studio.controls.contents.add("dot", torch.zeros(1, 3, 8, 8))
    browser_sets(studio.controls.contents.gallery, selected=[small])
    studio.start()
    with pytest.raises(ValueError, match="too small"):
        studio.wait(timeout=30)
    studio.run._thread.join()
    assert "too small for relu5_1" in studio.note.text and "st-error" in studio.note.value
    assert not studio.start_button.disabled


def test_two_studios_do_not_disturb_each_other(tmp_path: Path) -> None:
    panels = [
        widgets.TransferStudio(PHOTO, ART, vgg=make_tiny_vgg(), size=64, evaluations=25)
        for _ in range(2)
    ]
    alone = st.transfer(
        PHOTO,
        ART,
        vgg=make_tiny_vgg(),
        size=64,
        evaluations=25,
        **Desk(recipes["default"]).settings(),
    )
    for panel in panels:
        panel.start()
    move(panels[1], style=2.0)
    results = [finished(panel) for panel in panels]
    assert torch.equal(results[0].image, alone.image) and not results[0].turned
    assert results[1].turned[0]["weights"]["style"] == [4000.0]
    for panel in panels:
        panel.close()


def test_closing_stops_the_run(studio: TransferStudio) -> None:
    studio.controls.evaluations.value = 1000
    run = studio.start().run
    studio.close()
    assert run.wait(timeout=30).interrupted


# what it is made of


def test_a_desk_at_home_is_the_recipe() -> None:
    for recipe in recipes.values():
        desk = Desk(recipe, home(recipe))
        assert desk.style_weight() == recipe.style_weight
        assert desk.tv_weight() == recipe.tv_weight
        names = [strip["name"] for strip in strips(recipe)]
        assert names == ["style", "tv", *recipe.style_layers]
        if recipe.units.average:
            assert sum(desk.style_layers().values()) == pytest.approx(1)


def test_a_desk_with_all_muted_still_starts() -> None:
    recipe = recipes["default"]
    desk = Desk(recipe, home(recipe), muted=list(recipe.style_layers))
    assert not any(desk.style_layers().values())
    assert desk.settings()["style_weight"] == 0 and any(desk.settings()["style_layers"].values())


def test_total_variation_can_be_off() -> None:
    for name in ("default", "d2l"):
        assert Desk(recipes[name], {"tv": OFF}).tv_weight() == 0
        assert Desk(recipes[name], {"tv": OFF + 0.05}).tv_weight() > 0


def test_a_film_is_spread_evenly_and_bounded() -> None:
    class Frame:
        bytes = 10

        def __init__(self, evaluation: int) -> None:
            self.evaluation = evaluation

    film = Film(most=8)
    for evaluation in range(1, 1001):
        if film.wants(evaluation):
            film.add(b"", Frame(evaluation))
        assert len(film.kept) <= 8
    places = [kept.evaluation for kept in film.kept]
    gaps = {b - a for a, b in pairwise(places)}
    assert places[0] == 1 and max(gaps) <= 2 * min(gaps) and places[-1] > 850
    assert [kept.evaluation for kept in film.until(places[2]).kept] == places[:3]
    assert film.nearest(places[3] + 1) == 3
    for size, whole in ((50, 5), (5, 1)):
        narrow = Film(most=40, size=size)
        for evaluation in range(1, 30):
            narrow.add(b"", Frame(evaluation))
        assert len(narrow.kept) == 29, "pictures are small"
        frames = [kept.frame for kept in narrow.kept if kept.frame is not None]
        assert 1 <= len(frames) <= whole and frames[-1].evaluation == 29


def test_pace_gives_away_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace, spent = Pace(share=0.1, least=0.0), 0.0
    while now[0] < 200:
        if pace.due:
            with pace.measured():
                now[0] += 0.5
                spent += 0.5
        now[0] += 0.01
    assert 0.08 < spent / 100 <= 0.1
