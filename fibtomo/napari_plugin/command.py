"""The command line that repeats what was set in the panel."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fibtomo.io.stack import Stack
from fibtomo.pipeline.config import Call


def command_line(
    stack: Stack, out: Path, pipeline: str | None, settings: Sequence[str], stated: Mapping[str, Any]
) -> str:
    """Return the ``fibtomo run`` that does the same.

    Parameters
    ----------
    stack, out
        Input and output folder.
    pipeline, settings
        Name of a shipped pipeline, with the changes to it; ``None`` stands for a YAML file to be saved.
    stated
        Keyword arguments of `open_stack`.
    """
    words = ["fibtomo", "run", str(stack.path), "-o", str(out), "-p", pipeline or "PIPELINE.yaml"]
    for text in settings if pipeline else ():
        words += ["--set", text]
    if len(stack.channels) > 1:
        words += ["--channel", stack.channel_name]
    for option, value in stated.items():
        if option == "accept_guess":
            words += [word for name in value for word in ("--accept-guess", name)]
            continue
        words.append(f"--{option.replace('_', '-')}")
        if isinstance(value, bool):
            words.append("yes" if value else "no")
        else:
            words += [str(v) for v in (value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def changes(old: Sequence[Call], new: Sequence[Call]) -> list[str]:
    """``stage.param=value`` (or ``stage=off``) texts that make the pipeline `new` out of `old`."""
    kept = {call.name: call for call in new}
    texts = []
    for call in old:
        if call.name not in kept:
            texts.append(f"{call.name}=off")
            continue
        before, after = call.params.model_dump(mode="json"), kept[call.name].params.model_dump(mode="json")
        texts += [f"{call.name}.{name}={plain_yaml(value)}" for name, value in after.items() if value != before[name]]
    return texts


def plain_yaml(value: Any) -> str:
    """One line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
