"""Pipelines as YAML: one list of stages with their parameters, checked before any work is done."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fibtomo._resources import resource_dir
from fibtomo.core.params import Params, explain
from fibtomo.core.stage import StageDef, get_stage, stage_names
from fibtomo.errors import PipelineError

SCHEMA = 1


class InputConfig(BaseModel):
    """Facts about the acquisition that override the metadata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voxel_nm: tuple[float, float, float] | Literal["unknown"] | None = Field(None, description="(dz, dy, dx) in nm.")
    column_angle_deg: float | None = Field(None, description="Angle between the two columns.")
    tilt_corrected: bool | None = Field(None, description="Whether the scan corrected the tilt.")
    tracked: bool | None = Field(None, description="Whether the field of view followed the face.")
    overtilt_deg: float | None = Field(None, description="Milling over-tilt of the face against the ion beam.")
    face_tilt_deg: float | None = Field(None, description="Measured angle between electron beam and face normal.")
    sample_tilt_deg: float | None = Field(None, description="Inclination of the sample surface.")
    orientation: Literal["upright", "rotated-180", "flipped-rows", "flipped-columns"] | None = Field(
        None, description="How the stored images lie on the face."
    )
    channel: str | None = Field(None, description="Detector on which the geometry is measured; A+B blends two.")
    companions: tuple[str, ...] | None = Field(None, description="Further detectors to carry through that geometry.")
    accept_guess: tuple[str, ...] | None = Field(None, description="Facts that may stay guesses, as slice_nm.")


class OutputConfig(BaseModel):
    """What is written besides the tables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pyramid_levels: int | None = Field(
        None, ge=1, le=12, description="Levels; empty: until the longest edge is <= 256."
    )


@dataclass(frozen=True)
class Call:
    """One stage with its parameters."""

    name: str
    params: Params

    @property
    def stage(self) -> StageDef:
        """Declaration of the stage."""
        return get_stage(self.name)


@dataclass(frozen=True)
class PipelineConfig:
    """A checked pipeline.

    Attributes
    ----------
    name, summary
        For people.
    calls
        The stages in order.
    """

    name: str
    summary: str
    calls: tuple[Call, ...]
    input: InputConfig = field(default_factory=InputConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `parse_pipeline` turns back into an equal pipeline."""
        return {
            "schema": SCHEMA,
            "summary": self.summary,
            "input": self.input.model_dump(mode="json", exclude_none=True),
            "stages": [{"use": c.name, "with": c.params.model_dump(mode="json")} for c in self.calls],
            "output": self.output.model_dump(mode="json", exclude_none=True),
        }

    def to_yaml(self) -> str:
        """The pipeline with every parameter written out, as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def with_settings(self, settings: list[str]) -> "PipelineConfig":
        """Return a copy changed by ``stage.param=value`` texts (``stage=off`` leaves a stage out).

        A stage that is not in the pipeline takes the place of the one that makes the same table of the same volumes,
        as ``segment.forest.model=model.npz`` in place of ``segment.otsu``.

        Raises
        ------
        PipelineError
            A text is malformed or names what is not in the pipeline.
        """
        calls = list(self.calls)
        for text in settings:
            path, sep, raw = text.partition("=")
            if not sep:
                raise PipelineError(f"--set {text} must read stage.param=value")
            calls = _with_alternative(path.strip(), calls)
            index, parameter = _locate(path.strip(), calls)
            value = _plain_value(raw, text)
            if parameter is None:
                if value is not False:
                    raise PipelineError(f"--set {text}: only '{path}=off' may follow a stage without a parameter")
                del calls[index]
                continue
            old = calls[index]
            merged = {**old.params.model_dump(), parameter: value}
            calls[index] = Call(old.name, type(old.params).parse(merged, f"--set {text}"))
        return PipelineConfig(self.name, self.summary, tuple(calls), self.input, self.output)

    def with_drift_from(self, path: str | Path, shifts_are: str = "auto") -> "PipelineConfig":
        """Return a copy that takes the drift from a file (stage ``drift.import``) instead of measuring it.

        Raises
        ------
        PipelineError
            The pipeline uses no drift, or `shifts_are` is not a word that ``drift.import`` knows.
        """
        values = {"path": str(path), "shifts_are": shifts_are}
        given = Call("drift.import", get_stage("drift.import").params.parse(values, "--import-shifts"))
        users = [i for i, call in enumerate(self.calls) if "drift" in (*call.stage.requires, *call.stage.optional)]
        makers = [i for i, call in enumerate(self.calls) if call.stage.produces == "drift"]
        if not users and not makers:
            raise PipelineError(f"{self.name}: no stage of this pipeline uses a drift; add geometry.resample")
        at = makers[0] if makers else users[0]
        kept = [call for i, call in enumerate(self.calls) if i not in makers]
        return replace(self, calls=(*kept[:at], given, *kept[at:]))


def _plain_value(raw: str, text: str) -> Any:
    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError:
        raise PipelineError(f"--set {text}: the value {raw!r} is not a number, word or [list]") from None


def _with_alternative(path: str, calls: list[Call]) -> list[Call]:
    """Put the stage that `path` means in the place of the only one that does what it does."""
    name = next((n for n in stage_names() if path.startswith(f"{n}.")), None)
    if name is None or any(call.name == name for call in calls):
        return calls
    wanted = get_stage(name)

    def same(stage: StageDef) -> bool:
        alike = (stage.produces, stage.consumes, stage.makes) == (wanted.produces, wanted.consumes, wanted.makes)
        return alike and wanted.produces is not None and stage.name.partition(".")[0] == name.partition(".")[0]

    hits = [index for index, call in enumerate(calls) if same(call.stage)]
    if len(hits) != 1:
        return calls
    return [*calls[: hits[0]], Call(name, wanted.params()), *calls[hits[0] + 1 :]]


def _locate(path: str, calls: list[Call]) -> tuple[int, str | None]:
    """Find the call that `path` means: its full name, or its family where that is unique, then a parameter."""
    for index, call in enumerate(calls):
        if path == call.name:
            return index, None
        if path.startswith(call.name + "."):
            return index, path[len(call.name) + 1 :]
    family, _, parameter = path.partition(".")
    hits = [i for i, call in enumerate(calls) if call.name.partition(".")[0] == family]
    if len(hits) == 1:
        return hits[0], parameter or None
    names = ", ".join(c.name for c in calls)
    why = "is in this pipeline more than once" if hits else "is not in this pipeline"
    raise PipelineError(f"'{path}' {why}; its stages are {names}")


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and remembers the line of every mapping."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in result:
            raise PipelineError(f"line {key_node.start_mark.line + 1}: the key '{key}' stands twice")
        result[key] = loader.construct_object(value_node, deep=True)
    return _Lined(result, node.start_mark.line + 1)


class _Lined(dict[Any, Any]):
    def __init__(self, values: dict[Any, Any], line: int) -> None:
        super().__init__(values)
        self.line = line


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse_pipeline(text: str, name: str) -> PipelineConfig:
    """Read a pipeline from YAML text; `name` stands in messages.

    Raises
    ------
    PipelineError
        The YAML is broken, a key is unknown or stands twice, a stage does not exist or a value is refused.
    """
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark else name
        raise PipelineError(f"{where}: this is not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except PipelineError as error:
        raise PipelineError(f"{name}, {error}") from None
    if not isinstance(data, dict):
        raise PipelineError(f"{name}: a pipeline is a mapping with the keys schema and stages")
    unknown = set(data) - {"schema", "summary", "input", "stages", "output"}
    if unknown:
        raise PipelineError(
            f"{name}: unknown key '{sorted(map(str, unknown))[0]}'; allowed are schema, summary, input, stages, output"
        )
    if data.get("schema", SCHEMA) != SCHEMA:
        raise PipelineError(f"{name}: schema {data['schema']} is not known to this version (it reads schema {SCHEMA})")
    stages = data.get("stages")
    if not isinstance(stages, list) or not stages:
        raise PipelineError(f"{name}: 'stages' must list at least one stage")
    calls = tuple(_parse_call(entry, name) for entry in stages)
    return PipelineConfig(
        name=name,
        summary=str(data.get("summary", "")),
        calls=calls,
        input=_parse_part(InputConfig, data.get("input"), f"{name}: input"),
        output=_parse_part(OutputConfig, data.get("output"), f"{name}: output"),
    )


def _parse_part(model: type[Any], values: Any, where: str) -> Any:
    if values is not None and not isinstance(values, dict):
        raise PipelineError(f"{where} must be a mapping")
    try:
        return model(**(values or {}))
    except ValidationError as error:
        raise PipelineError(f"{where}: {explain(error, model)}") from None


def _parse_call(entry: Any, name: str) -> Call:
    if isinstance(entry, str):
        entry = _Lined({"use": entry}, 0)
    if not isinstance(entry, dict) or not isinstance(entry.get("use"), str):
        raise PipelineError(
            f"{name}: each stage is written as '- use: NAME' with an optional 'with:' mapping, not {entry!r}"
        )
    line = getattr(entry, "line", 0)
    where = f"{name}, line {line}" if line else name
    unknown = set(entry) - {"use", "with"}
    if unknown:
        raise PipelineError(f"{where}: unknown key '{sorted(map(str, unknown))[0]}' beside 'use' and 'with'")
    try:
        stage = get_stage(entry["use"])
    except PipelineError as error:
        raise PipelineError(f"{where}: {error}") from None
    values = entry.get("with") or {}
    if not isinstance(values, dict):
        raise PipelineError(f"{where}: 'with' of stage '{stage.name}' must be a mapping of parameters")
    return Call(stage.name, stage.params.parse(values, f"{where}, stage '{stage.name}'"))


def pipelines() -> dict[str, str]:
    """Names and summaries of the pipelines that come with fibtomo."""
    found = {}
    for path in sorted(resource_dir("pipelines").glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[path.stem.replace("_", "-")] = str(data.get("summary", ""))
    return found


def load_pipeline(name_or_path: str | Path) -> PipelineConfig:
    """Return a shipped pipeline by name, or one read from a YAML file.

    Raises
    ------
    PipelineError
        There is neither such a pipeline nor such a file, or it is wrong.
    """
    text = str(name_or_path)
    shipped = resource_dir("pipelines") / f"{text.replace('-', '_')}.yaml"
    path = Path(name_or_path)
    if "/" not in text and "\\" not in text and shipped.is_file():
        return parse_pipeline(shipped.read_text(encoding="utf-8"), text)
    if not path.is_file():
        known = ", ".join(pipelines())
        raise PipelineError(f"'{text}' is neither a pipeline of fibtomo ({known}) nor a YAML file")
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} cannot be read as text: {error}") from None
    return parse_pipeline(content, str(path))
