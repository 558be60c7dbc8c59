"""The panel in a real window: previews, whole runs beside the window, cancel and resume, and every refusal."""

import shlex
import threading

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog

from fibtomo import napari_plugin, open_stack
from fibtomo.cli.common import join_voxel_arguments
from fibtomo.core.stage import get_stage
from fibtomo.napari_plugin import trial
from fibtomo.napari_plugin.command import command_line
from fibtomo.napari_plugin.layers import KEY
from fibtomo.napari_plugin.widget import FibtomoWidget
from fibtomo.napari_plugin.worker import SignalObserver
from fibtomo.pipeline.config import Call, load_pipeline
from fibtomo.pipeline.preview import preview

TRUE_Y_NM = 5.0 / np.sin(np.radians(52.0))


def select(panel, stage):
    [item] = panel.pipeline.stages.findItems(stage, Qt.MatchFlag.MatchExactly)
    panel.pipeline.stages.setCurrentItem(item)


def layer(panel, name):
    return panel.viewer.layers[name]


def test_the_slices_are_asked_beside_the_window(panel, finish):
    box = panel.acquisition
    assert box.ask_slices.isEnabled()
    assert box.seen.text() == ""
    box.ask_slices.click()
    assert not box.ask_slices.isEnabled()
    finish(panel)
    assert box.ask_slices.isEnabled()
    for fact in ("tilt_corrected", "slice_nm"):
        assert any(line.lstrip("⚠ ").startswith(fact) for line in box.seen.text().splitlines())
    box.tilt.setCurrentText("yes")
    box.show_stack(None)
    assert box.seen.text() == ""
    assert not box.ask_slices.isEnabled()


class TestPreview:
    def test_stage_on_the_slices_in_view(self, window, slices, finish):
        window.pipeline.choice.setCurrentText("only denoise.gaussian")
        window.viewer.dims.set_point(0, 100.0)  # nm: slice 10
        window.slab.setValue(5)
        window.preview_button.click()
        finish(window)
        raw = open_stack(slices).read(8, 13)
        after = layer(window, "denoise.gaussian after")
        np.testing.assert_array_equal(layer(window, "denoise.gaussian before").data, raw)
        np.testing.assert_array_equal(after.data, self.expected(slices, "denoise.gaussian", 8, 13))
        np.testing.assert_array_equal(layer(window, "denoise.gaussian removed").data, raw - after.data.astype(float))
        assert not np.array_equal(after.data, raw)
        for name in ("before", "after", "removed"):
            shown = layer(window, f"denoise.gaussian {name}")
            assert tuple(shown.translate) == pytest.approx((80.0, 0.0, 0.0))
            assert tuple(shown.scale) == pytest.approx((10.0, TRUE_Y_NM, 5.0))
            assert {str(unit) for unit in shown.units} == {"nanometer"}
        assert window.status.text() == "denoise.gaussian on slices 8 to 12"
        assert window.viewer.dims.point[0] == pytest.approx(100.0)

    @staticmethod
    def expected(slices, stage, z0, z1):
        from fibtomo.core.stage import get_stage
        from fibtomo.pipeline.config import Call

        slab = open_stack(slices, slices=(z0, z1))
        return preview(slab, [Call(stage, get_stage(stage).params())], 0, z1 - z0).after

    def test_second_preview_takes_the_place_of_the_first(self, panel, finish):
        panel.pipeline.choice.setCurrentText("only denoise.gaussian")
        for z_nm in (20.0, 120.0):
            panel.viewer.dims.set_point(0, z_nm)
            panel.preview()
            finish(panel)
        assert len(panel.viewer.layers) == 4
        assert layer(panel, "denoise.gaussian after").translate[0] == pytest.approx(70.0)  # last 9 of 16 slices

    def test_before_and_after_are_flipped(self, panel, finish):
        panel.pipeline.choice.setCurrentText("only denoise.gaussian")
        panel.preview()
        finish(panel)
        for name, button in panel.shown.items():
            button.click()
            visible = [lay.name for lay in panel.viewer.layers if lay.visible and lay.name.startswith("denoise")]
            assert visible == [f"denoise.gaussian {name}"]

    def test_phases_lie_over_what_they_were_made_of(self, panel, finish):
        select(panel, "segment.otsu")
        panel.preview()
        finish(panel)
        before, after = layer(panel, "segment.otsu before"), layer(panel, "segment.otsu after")
        assert (before._type_string, after._type_string) == ("image", "labels")
        assert before.visible
        assert after.visible
        assert before.data.shape == after.data.shape
        assert tuple(after.scale) == (5.0, 5.0, 5.0)
        np.testing.assert_array_equal(before.translate, after.translate)
        assert "grey levels" in panel.status.text()
        assert not panel.shown["removed"].isEnabled()

    def test_resampled_slab_lies_over_the_raw_slice(self, panel, finish):
        select(panel, "geometry.resample")
        panel.viewer.dims.set_point(0, 60.0)
        panel.preview()
        finish(panel)
        after, raw = layer(panel, "geometry.resample after"), np.asarray(panel.layer().data[2])  # 2: first of the slab
        plane = after.data[0].astype(float)
        rows = np.rint((np.arange(plane.shape[0]) * 5.0 + after.translate[1]) / TRUE_Y_NM).astype(int)
        columns = np.rint((np.arange(plane.shape[1]) * 5.0 + after.translate[2]) / 5.0).astype(int)
        assert after.translate[0] == pytest.approx(20.0)
        assert rows.max() < raw.shape[0]
        assert columns.max() < raw.shape[1]
        assert np.corrcoef(raw[np.ix_(rows, columns)].ravel(), plane.ravel())[0, 1] > 0.9

    @pytest.mark.parametrize(
        ("stage", "words"), [("drift.estimate", "slices move by"), ("measure.phases", "volume fractions")]
    )
    def test_measuring_stage_tells_its_numbers(self, stage, words, panel, finish):
        select(panel, stage)
        panel.preview()
        finish(panel)
        assert words in panel.status.text()
        assert len(panel.viewer.layers) == 1

    @pytest.mark.parametrize(("strength", "words"), [(0.0, "left as it is"), (8.0, "grey rms removed, damage")])
    def test_curtains_are_told_of_the_slice_in_view(self, strength, words, tmp_path):
        rng = np.random.default_rng(0)
        grey = rng.normal(110, 5, (12, 96, 128))
        grey[8:] += strength * rng.standard_normal(128)
        tifffile.imwrite(tmp_path / "a.tif", grey.astype(np.uint8), photometric="minisblack")
        stack = open_stack(tmp_path / "a.tif", voxel_nm="unknown")
        calls = [Call("curtain.remove", get_stage("curtain.remove").params())] * 2
        tried = trial.try_last(stack, calls[:1], 9, 5)
        said = trial.trial_sentence(tried)
        assert said.startswith("curtain.remove on slices 7 to 11: ")
        assert "on slice 9" in said
        assert words in said
        assert said.endswith(f"(curtains on {4 if strength else 0} of the 5 slices)")
        before, removed, after = (layer[0] for layer in trial.trial_layers(tried))
        assert np.any(removed) == bool(strength)
        np.testing.assert_array_equal(before - removed, after)
        again = trial.trial_sentence(trial.try_last(stack, calls, 9, 5))
        assert "left as it is" in again

    def test_surface_is_shown(self, slices):
        calls = load_pipeline("nanoporous-metal").calls
        wanted = {"drift.estimate", "geometry.resample", "segment.otsu", "mesh.surface"}
        tried = trial.try_last(open_stack(slices), [c for c in calls if c.name in wanted], 8, 9)
        [(data, options, kind)] = trial.trial_layers(tried)
        assert kind == "surface"
        assert options["name"] == "mesh.surface after"
        assert data[0][:, 0].max() <= tried.after.out_spec.shape[0]


class TestRun:
    def test_runs_beside_the_window_and_opens_the_result(self, window, quick_run, finish, monkeypatch):
        sections, values, threads = [], [], []
        original = SignalObserver.begin

        def begin(self, title, total, done):
            threads.append(threading.current_thread())
            sections.append(title)
            original(self, title, total, done)

        monkeypatch.setattr(SignalObserver, "begin", begin)
        window.runs.bar.valueChanged.connect(values.append)
        window.runs.start.click()
        assert not window.runs.start.isEnabled()
        assert window.runs.stop.isEnabled()
        finish(window)
        assert threading.main_thread() not in threads
        assert any("drift.estimate" in title for title in sections)
        assert max(values) >= 1
        names = [lay.name for lay in window.viewer.layers if lay.visible]
        assert names == ["result volume", "result phases"]
        result = window.runs.result
        np.testing.assert_array_equal(np.asarray(result.volume), np.asarray(quick_run.volume))
        np.testing.assert_array_equal(np.asarray(layer(window, "result phases").data), np.asarray(quick_run.labels))
        assert tuple(layer(window, "result volume").scale) == result.voxel_nm
        assert window.status.text().startswith("finished")
        assert window.runs.start.isEnabled()
        opened = []
        monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
        window.runs.report.click()
        assert opened == [str(window.runs.folder() / "report.html")]

    def test_record_will_hold_the_command_that_repeats_it(self, panel, slices, finish, monkeypatch):
        given = {}
        monkeypatch.setattr("fibtomo.api.run", lambda *_, **options: given.update(options))
        monkeypatch.setattr(panel, "_show_run", lambda _: None)
        names = [form.stage for form in panel.pipeline.forms]
        panel.pipeline.forms[names.index("geometry.resample")].editors["method"].set_value("cubic")
        panel.pipeline.stages.item(names.index("measure.phases")).setCheckState(Qt.CheckState.Unchecked)
        panel.run()
        finish(panel)
        assert given["command"] == (
            f"fibtomo run {slices} -o {panel.runs.folder()} -p quick-look "
            "--set geometry.resample.method=cubic --set measure.phases=off"
        )
        repeated = load_pipeline("quick-look").with_settings(panel.pipeline.settings())
        assert repeated == panel.pipeline.config()

    def test_cancel_keeps_what_is_done_and_run_goes_on(self, window, quick_run, finish, qtbot, monkeypatch):
        held, original = threading.Event(), SignalObserver.advance

        def advance(self, voxels):
            original(self, voxels)
            held.wait(30)

        monkeypatch.setattr(SignalObserver, "advance", advance)
        window.run()
        qtbot.waitUntil(lambda: window.runs.bar.value() >= 1, timeout=30_000)
        window.runs.stop.click()  # the window answers although the run is at work
        held.set()
        finish(window)
        out = window.runs.folder()
        assert window.status.text().startswith("stopped")
        assert not (out / "run.json").exists()
        assert list(out.rglob("blocks/*/*.npz"))
        said = []
        monkeypatch.setattr(SignalObserver, "message", lambda self, text: said.append(text))
        window.run()
        finish(window)
        assert any("resuming" in text for text in said)
        np.testing.assert_array_equal(np.asarray(window.runs.result.volume), np.asarray(quick_run.volume))
        np.testing.assert_array_equal(np.asarray(window.runs.result.labels), np.asarray(quick_run.labels))

    def test_quitting_stops_the_run(self, panel, monkeypatch, qtbot):
        reached, original = threading.Event(), SignalObserver.advance

        def advance(self, voxels):
            original(self, voxels)
            reached.set()

        monkeypatch.setattr(SignalObserver, "advance", advance)
        panel.run()
        job = panel.job
        assert reached.wait(30)
        job.stop()
        assert job.isFinished()
        qtbot.waitUntil(lambda: panel.job is None)
        assert not (panel.runs.folder() / "report.html").exists()

    def test_sections_and_solid(self, make_panel, make_napari_viewer, slices, full_run, qtbot):
        panel = make_panel(make_napari_viewer(show=True), slices)
        panel._show_run(full_run)
        viewer = panel.viewer
        viewer.dims.set_point(0, 80.0)
        panel.runs.solid.click()
        assert viewer.dims.ndisplay == 3
        assert [lay.name for lay in viewer.layers if lay.visible] == ["full surface 1"]

        def orange_share():
            picture = viewer.screenshot(flash=False)[..., :3].reshape(-1, 3)
            return ((picture[:, 0] > 1.3 * picture[:, 2]) & (picture[:, 0] > 60)).mean()

        qtbot.waitUntil(lambda: orange_share() > 0.02, timeout=20_000)  # drawn when the machine finds the time
        panel.runs.solid.click()
        assert viewer.dims.ndisplay == 2
        assert viewer.dims.point[0] == pytest.approx(80.0, abs=2.5)  # the surface ends half a voxel outside
        assert [lay.name for lay in viewer.layers if lay.visible] == ["full volume", "full phases"]


class TestRefusals:
    def said(self, panel):
        assert panel.status.property("error")
        return panel.status.text()

    def test_missing_scale_is_asked_for_and_the_answer_used(self, make_panel, plain_slices, finish):
        panel = make_panel(ViewerModel(), plain_slices)
        panel.run()
        finish(panel)
        assert "--voxel-nm" in self.said(panel)
        assert panel.acquisition.more.isChecked()
        panel.acquisition.voxel.setText("10 5 5")
        panel.acquisition.voxel.editingFinished.emit()
        assert not panel.status.property("error")
        assert tuple(panel.layer().scale) == (10.0, 5.0, 5.0)
        assert {str(unit) for unit in panel.layer().units} == {"nanometer"}
        select(panel, "geometry.resample")
        panel.preview()
        finish(panel)
        assert tuple(layer(panel, "geometry.resample after").scale) == (5.0, 5.0, 5.0)

    def test_stated_facts_outrank_the_files(self, panel):
        panel.acquisition.angle.setText("54")
        panel.acquisition.tilt.setCurrentText("no")
        panel.acquisition.tracked.setCurrentText("yes")
        panel.acquisition.overtilt.setText("1.5°")
        panel.acquisition.orientation.setCurrentText("flipped-rows")
        panel.acquisition.accepted.setText("slice_nm, pixel_nm")
        stack = panel.stack()
        assert (stack.column_angle_deg, stack.tilt_corrected, stack.tracked) == (54.0, False, True)
        assert (stack.calibration.overtilt_deg.value, stack.calibration.orientation.value) == (1.5, "flipped-rows")
        assert stack.calibration.others["accepted"].value == ("slice_nm", "pixel_nm")
        upright = open_stack(stack, orientation="upright").read(0, 1)
        np.testing.assert_array_equal(np.asarray(panel.layer().data[0]), upright[0, ::-1])
        panel.acquisition.orientation.setCurrentIndex(0)
        np.testing.assert_array_equal(np.asarray(panel.layer().data[0]), upright[0])
        assert panel.layer().scale[1] == pytest.approx(5.0 / np.sin(np.radians(54.0)))
        panel.acquisition.clear()
        assert panel.stack().column_angle_deg == 52.0

    @pytest.mark.parametrize(
        ("field", "text", "words"),
        [("voxel", "ten 5 5", "voxel_nm"), ("voxel", "10 5", "voxel_nm"), ("angle", "steep", "number of degrees")],
    )
    def test_wrong_answers(self, field, text, words, panel):
        getattr(panel.acquisition, field).setText(text)
        panel.preview()
        assert words in self.said(panel)
        assert panel.job is None

    def test_no_stack(self, qtbot):
        panel = FibtomoWidget(ViewerModel())
        qtbot.addWidget(panel)
        panel.run()
        assert "open a folder of slices" in self.said(panel)

    def test_no_folder(self, panel):
        panel.runs.out.clear()
        panel.run()
        assert "folder for the results" in self.said(panel)

    def test_no_stage(self, panel):
        for row in range(panel.pipeline.stages.count()):
            panel.pipeline.stages.item(row).setCheckState(Qt.CheckState.Unchecked)
        panel.run()
        assert "no stage is ticked" in self.said(panel)

    def test_refused_parameter(self, panel):
        editor = panel.pipeline.forms[0].editors["offsets"]
        editor.tick.setChecked(False)
        editor.inner.line.setText("5")
        panel.preview()
        assert "contain 1" in self.said(panel)

    def test_stage_that_lacks_its_input(self, panel, finish):
        panel.pipeline.choice.setCurrentText("only measure.phases")
        panel.preview()
        finish(panel)
        assert "works on phases" in self.said(panel)

    def test_finished_results_are_not_replaced_unasked(self, panel, quick_run, finish):
        panel.runs.out.setText(str(quick_run.path))
        panel.run()
        finish(panel)
        assert str(quick_run.path) in self.said(panel)

    def test_the_unforeseen_is_raised_for_napari_to_show(self, panel, finish, qtbot, monkeypatch):
        def broken(*_args, **_options):
            raise ZeroDivisionError("a fault of ours")

        monkeypatch.setattr("fibtomo.napari_plugin.widget.try_last", broken)
        with qtbot.capture_exceptions() as exceptions:
            panel.preview()
            finish(panel)
        assert [kind for kind, _, _ in exceptions] == [ZeroDivisionError]
        assert "a fault of ours" in self.said(panel)
        assert panel.preview_button.isEnabled()


class TestPipelines:
    def test_saved_pipeline_is_loaded_again(self, panel, tmp_path, monkeypatch):
        panel.pipeline.forms[0].editors["max_shift_px"].set_value(12.5)
        saved, path = panel.pipeline.config(), tmp_path / "mine.yaml"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
        panel.pipeline._save()
        panel.pipeline.choice.setCurrentText("drift-only")
        panel.pipeline._load()
        assert panel.pipeline.config().calls == saved.calls
        assert panel.pipeline.choice.currentText() == "mine.yaml"

    def test_broken_file_is_named(self, panel, tmp_path, monkeypatch):
        path = tmp_path / "broken.yaml"
        path.write_text("stages: [no.such_stage]")
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
        panel.pipeline._load()
        assert "no.such_stage" in panel.status.text()

    def test_every_offered_pipeline_can_be_chosen(self, panel):
        for index in range(panel.pipeline.choice.count()):
            panel.pipeline.choice.setCurrentIndex(index)
            assert panel.status.text() == ""

    def test_command_line_is_understood_by_the_command_line(self, slices):
        stack = open_stack(slices)
        stated = {"voxel_nm": ("10", "5", "5"), "tilt_corrected": False, "column_angle_deg": 52.0}
        stated |= {"accept_guess": ("slice_nm", "tracked")}
        text = command_line(stack, slices / "a b", None, ["x=1"], stated)
        assert shlex.split(text)[3:5] == ["-o", str(slices / "a b")]
        assert join_voxel_arguments(shlex.split(text)[7:]) == [
            "--voxel-nm=10,5,5", "--tilt-corrected", "no", "--column-angle-deg", "52.0",
            "--accept-guess", "slice_nm", "--accept-guess", "tracked",
        ]  # fmt: skip


def test_opening_a_folder_from_the_panel(make_panel, slices, plain_slices, full_run, monkeypatch):
    panel = make_panel(ViewerModel(), slices)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(plain_slices))
    panel.open_button.click()
    assert panel.stack().path == plain_slices
    assert panel.runs.out.text() == str(plain_slices.with_name("plain-result"))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(full_run.path))
    panel.open_button.click()
    assert "full volume" in panel.viewer.layers
    assert panel.stack().path == plain_slices
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(full_run.path / "absent"))
    panel.open_button.click()
    assert "absent" in panel.status.text()


def test_removed_layer_is_no_longer_offered(panel):
    panel.viewer.layers.clear()
    assert panel.stack_choice.count() == 0
    assert panel.layer() is None


def test_napari_finds_reader_and_panel(make_napari_viewer, slices, quick_run):
    viewer = make_napari_viewer()
    viewer.open(str(slices), plugin="fibtomo")
    viewer.open(str(quick_run.path), plugin="fibtomo")
    assert [lay.name for lay in viewer.layers] == ["silver", "quick volume", "quick phases"]
    _, panel = viewer.window.add_plugin_dock_widget("fibtomo")
    assert panel.stack().path == slices


def test_view_opens_slices_with_the_panel(make_napari_viewer, monkeypatch, slices):
    import napari

    monkeypatch.setattr(napari, "Viewer", lambda **_: make_napari_viewer())
    viewer = napari_plugin.view(slices, block=False)
    assert viewer.layers[0].metadata[KEY].path == slices
    assert "fibtomo" in viewer.window.dock_widgets
