"""Reading pipelines: what is refused, and how settings change them."""

import pytest

from fibtomo.errors import PipelineError
from fibtomo.pipeline.config import load_pipeline, parse_pipeline, pipelines

GOOD = """
schema: 1
summary: two stages
stages:
  - use: drift.estimate
  - use: geometry.resample
    with: {method: linear}
"""


def test_reads_stages_and_parameters():
    config = parse_pipeline(GOOD, "mine")
    assert [c.name for c in config.calls] == ["drift.estimate", "geometry.resample"]
    assert config.calls[1].params.method == "linear"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: [", ["mine, line", "not valid YAML"]),
        ("- a\n- b", ["mapping"]),
        ("schema: 1", ["stages"]),
        ("schema: 7\nstages: [drift.estimate]", ["schema 7"]),
        ("stages:\n  - use: drift.estimat", ["line 2", "drift.estimat", "drift.estimate"]),
        ("stages:\n  - use: geometry.resample\n    with: {metod: linear}", ["line 2", "metod", "method"]),
        ("stages:\n  - use: geometry.resample\n    with: {method: magic}", ["method", "magic"]),
        ("stages:\n  - use: geometry.resample\n    with: {crop: all, crop: all}", ["line 3", "crop", "twice"]),
        ("stages:\n  - use: geometry.resample\n    wiht: {}", ["wiht"]),
        ("stages: [drift.estimate]\nstagse: 3", ["stagse"]),
        ("stages: [drift.estimate]\ninput: {voxel: 3}", ["input", "voxel"]),
    ],
)
def test_refuses_with_one_sentence(text, words):
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(text, "mine")
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_settings_change_parameters():
    config = parse_pipeline(GOOD, "mine").with_settings(["geometry.resample.voxel_nm=8", "geometry.crop=all"])
    assert config.calls[1].params.voxel_nm == 8
    assert config.calls[1].params.crop == "all"


def test_a_stage_can_be_left_out():
    assert [c.name for c in parse_pipeline(GOOD, "m").with_settings(["drift=off"]).calls] == ["geometry.resample"]


@pytest.mark.parametrize(
    ("setting", "word"),
    [("geometry.resample.voxel_nm", "="), ("segment.classes=3", "segment"), ("geometry.magic=1", "magic"),
     ("geometry.voxel_nm=-1", "voxel_nm"), ("drift.estimate=3", "off")],
)  # fmt: skip
def test_wrong_settings_are_refused(setting, word):
    with pytest.raises(PipelineError, match=word):
        parse_pipeline(GOOD, "mine").with_settings([setting])


def test_unknown_pipeline_lists_the_known():
    with pytest.raises(PipelineError, match="quick-look"):
        load_pipeline("no-such-thing")


def test_own_file_is_read(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GOOD)
    assert len(load_pipeline(path).calls) == 2


def test_every_shipped_pipeline_has_a_summary():
    assert all(text.endswith(".") for text in pipelines().values())


@pytest.mark.parametrize(
    ("stage", "parameter"), [("face.find", "crop"), ("thickness.estimate", "method"), ("geometry.resample", "roi")]
)
def test_bare_off_is_the_word_where_a_parameter_knows_it(stage, parameter):
    text = f"stages:\n  - use: drift.estimate\n  - use: {stage}\n    with: {{{parameter}: off}}\n"
    assert getattr(parse_pipeline(text, "mine").calls[-1].params, parameter) == "off"
    changed = parse_pipeline(text.replace(": off", ": auto"), "mine").with_settings([f"{stage}.{parameter}=off"])
    assert getattr(changed.calls[-1].params, parameter) == "off"
