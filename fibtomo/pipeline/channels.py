"""The other channels of a stack: each corrected by itself, all moved by the geometry that the main one gave."""

import re
from collections.abc import Collection
from dataclasses import replace

from fibtomo.core.source import SliceSource
from fibtomo.errors import InputError, PipelineError
from fibtomo.pipeline.config import PipelineConfig
from fibtomo.pipeline.results import CHANNEL_VOLUMES


def carried(source: SliceSource) -> dict[str, SliceSource]:
    """The channels that a stack takes along, by name.

    Raises
    ------
    InputError
        Two of them would be written to one place.
    """
    found: dict[str, SliceSource] = getattr(source, "carried", {})
    places = [volume_name(name).casefold() for name in found]
    twice = [name for name, place in zip(found, places, strict=True) if places.count(place) > 1]
    if twice:
        raise InputError(f"the channels {' and '.join(twice)} would both be written to {volume_name(twice[0])}")
    return found


def volume_name(channel: str) -> str:
    """Name of the folder of a channel's volume.

    Examples
    --------
    >>> volume_name("EDS Fe/K")
    'volume_EDS_Fe_K.ome.zarr'
    """
    return CHANNEL_VOLUMES.format(re.sub(r"[^\w.+-]+", "_", channel))


def grey_stages(config: PipelineConfig) -> PipelineConfig:
    """Return the part of a pipeline that every channel goes through: what changes greys, and what that measures.

    Drift, face and slice thickness are not among it: they come from the main channel.

    Raises
    ------
    PipelineError
        Greys are changed after a stage that already sees all channels.
    """
    calls = [c for c in config.calls if c.stage.apply is not None and c.stage.consumes == c.stage.makes == "grey"]
    first = next((i for i, c in enumerate(config.calls) if c.stage.sees_channels), len(config.calls))
    late = [c.name for c in config.calls[first:] if c in calls]
    if late:
        raise PipelineError(
            f"{config.name}: '{config.calls[first].name}' sees all channels as they are in the end: put '{late[0]}' "
            f"before it"
        )
    return replace(config, calls=tuple(calls))


def roles_given(config: PipelineConfig, known: Collection[str]) -> list[str]:
    """Of the roles of tables that are `known` of the main channel, those that another one takes over.

    Examples
    --------
    >>> from fibtomo.pipeline.config import load_pipeline
    >>> roles_given(grey_stages(load_pipeline("default")), ["input", "flicker", "drift", "face", "threshold"])
    ['input', 'drift', 'face']
    """
    own = {c.stage.produces for c in config.calls}
    read = {"input"}.union(*({*c.stage.requires, *c.stage.optional} for c in config.calls))
    return [role for role in known if role in read - own]


def bad_slices(source: SliceSource) -> list[int]:
    """Slices that cannot be read from one of the channels; the geometry leaves them out of all."""
    return sorted({k for s in (source, *carried(source).values()) for k in getattr(s, "bad_slices", ())})
