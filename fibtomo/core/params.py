"""`Params`: the one declaration of a stage's parameters behind YAML, command line, documentation and GUI."""

from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fibtomo.errors import PipelineError


class Params(BaseModel):
    """Frozen parameters of one stage; unknown names are refused.

    Every field carries its unit in its name (`_px`, `_nm`, `_deg`, `_slices`), its range and one line of
    description, from which the YAML schema, ``--set``, the napari widget and the documentation are made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _bare_off(cls, values: Any) -> Any:
        """YAML reads the bare word off as a truth value; give it back to parameters that know the word."""
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            name: "off" if value is False and name in fields and _allows_off(fields[name].annotation) else value
            for name, value in values.items()
        }

    @classmethod
    def parse(cls, values: dict[str, Any], where: str) -> Self:
        """Build from plain values; `where` (stage and line) opens the message of what is wrong.

        Raises
        ------
        PipelineError
            A name is unknown or a value is out of range; the message lists every such field.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise PipelineError(f"{where}: {explain(error, cls)}") from None


def _allows_off(annotation: Any) -> bool:
    """Whether a type, or a part of it, lists the word off."""
    return any(part == "off" or _allows_off(part) for part in get_args(annotation))


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn pydantic's report into one sentence a microscopist can act on."""
    parts = []
    for item in error.errors():
        name = ".".join(str(p) for p in item["loc"])
        if item["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            parts.append(f"parameter '{name}' does not exist (there are: {known})")
        elif item["type"] == "missing":
            parts.append(f"parameter '{name}' must be given")
        else:
            message = item["msg"].removeprefix("Value error, ")
            parts.append(f"parameter '{name}' = {item['input']!r} is refused: {message}")
    return "; ".join(parts)
