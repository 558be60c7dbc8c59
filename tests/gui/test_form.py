"""Forms made from parameters: every stage, every kind of field, every refusal."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import get_stage, stage_names
from fibtomo.errors import PipelineError
from fibtomo.napari_plugin.editors import AutoEditor, BoolEditor, ChoiceEditor, NumberEditor, TextEditor, YamlEditor
from fibtomo.napari_plugin.form import ParamsForm


class Kinds(Params):
    """One field of every kind."""

    flag: bool = Field(True, description="A switch.")
    count_px: int = Field(3, ge=1, le=9, description="A whole number.")
    length_nm: float = Field(1 / 3, gt=0, description="A number.")
    word: Literal["one", "two"] = Field("one", description="A choice.")
    number: Literal[6, 18, 26] = Field(6, description="A choice of numbers.")
    maybe: float | None = Field(None, ge=-5, le=5, description="Number or nothing.")
    angle_deg: Annotated[float, Field(ge=-45, le=45)] | Literal["auto"] = Field("auto", description="Number or word.")
    pair: tuple[float, float] | None = Field(None, description="Two numbers or nothing.")
    several: Literal["auto"] | tuple[int, ...] = Field("auto", description="Numbers or a word.")
    text: str = Field("as is", description="Text.")
    mixed: int | tuple[int, int] | Literal["auto", "none"] = Field("auto", description="Too much for one editor.")


REQUIRED = {"segment.onnx": {"model": "net.onnx"}, "drift.import": {"path": "drift.csv"}}
OTHERS = {
    "flag": False,
    "count_px": 9,
    "length_nm": 2.5e-4,
    "word": "two",
    "number": 26,
    "maybe": -1.25,
    "angle_deg": 12.5,
    "pair": (0.1, 0.25),
    "several": (1, 2, 5),
    "text": "other: text",
    "mixed": (3, 4),
}


@pytest.mark.parametrize("name", stage_names())
def test_every_stage_has_a_form_that_returns_its_parameters(name, qtbot):
    kind = get_stage(name).params
    values = REQUIRED.get(name, {})
    form = ParamsForm(name, kind, values)
    qtbot.addWidget(form)
    assert form.params() == kind(**values)
    assert set(form.editors) == set(kind.model_fields)
    for field, editor in form.editors.items():
        assert kind.model_fields[field].description in editor.toolTip()


def test_what_has_no_default_is_asked_for(qtbot):
    form = ParamsForm("drift.import", get_stage("drift.import").params, {})
    qtbot.addWidget(form)
    assert "'path'" in form.error.text()
    form.editors["path"].set_value("C:\\data: new\\drift.csv")
    assert form.error.isHidden()
    assert form.params().path == "C:\\data: new\\drift.csv"


def test_each_kind_has_its_editor(qtbot):
    form = ParamsForm("kinds", Kinds, {})
    qtbot.addWidget(form)
    e = form.editors
    assert isinstance(e["flag"], BoolEditor)
    assert isinstance(e["word"], ChoiceEditor)
    assert isinstance(e["number"], ChoiceEditor)
    assert isinstance(e["count_px"], NumberEditor)
    assert isinstance(e["pair"], AutoEditor)
    assert isinstance(e["pair"].inner, YamlEditor)
    assert isinstance(e["mixed"], YamlEditor)
    assert type(e["text"]) is TextEditor
    assert (e["count_px"].box.minimum(), e["count_px"].box.maximum(), e["count_px"].box.suffix()) == (1, 9, " px")
    angle = e["angle_deg"].inner.box
    assert (angle.minimum(), angle.maximum(), angle.suffix()) == (-45, 45, " °")


@pytest.mark.parametrize("values", [{}, OTHERS])
def test_values_come_back_exactly(values, qtbot):
    form = ParamsForm("kinds", Kinds, values)
    qtbot.addWidget(form)
    assert form.params() == Kinds(**values)


@pytest.mark.parametrize("name", list(OTHERS))
def test_editing_changes_one_value(name, qtbot):
    form = ParamsForm("kinds", Kinds, {})
    qtbot.addWidget(form)
    with qtbot.waitSignal(form.changed, timeout=1000):
        form.editors[name].set_value(OTHERS[name])
    assert form.params() == Kinds(**{name: OTHERS[name]})


def test_typing_and_ticking(qtbot):
    form = ParamsForm("kinds", Kinds, {})
    qtbot.addWidget(form)
    form.editors["length_nm"].box.setValue(7.25)
    form.editors["angle_deg"].tick.setChecked(False)
    form.editors["angle_deg"].inner.box.setValue(3.0)
    form.editors["several"].tick.setChecked(False)
    form.editors["several"].inner.line.setText("[1, 3]")
    made = form.params()
    assert (made.length_nm, made.angle_deg, made.several) == (7.25, 3.0, (1, 3))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("pair", "0.1", "pair"), ("pair", "0.1, [", "numbers with commas"), ("several", "1, x", "several")],
)
def test_refusals_stand_in_the_form(name, text, words, qtbot):
    form = ParamsForm("kinds", Kinds, {})
    qtbot.addWidget(form)
    form.editors[name].tick.setChecked(False)
    form.editors[name].inner.line.setText(text)
    form.editors[name].inner.line.editingFinished.emit()
    with pytest.raises(PipelineError, match=words):
        form.params()
    assert words in form.error.text()
    assert not form.error.isHidden()
    form.editors[name].tick.setChecked(True)
    assert form.error.isHidden()


def test_rule_over_a_whole_stage_is_told(qtbot):
    form = ParamsForm("drift.estimate", get_stage("drift.estimate").params, {})
    qtbot.addWidget(form)
    form.editors["offsets"].tick.setChecked(False)
    form.editors["offsets"].inner.line.setText("2, 3")
    form.editors["offsets"].inner.line.editingFinished.emit()
    assert "contain 1" in form.error.text()
