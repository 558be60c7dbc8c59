"""Cutting a pipeline into sections: which stages share one pass over one array.

A section reads one array once, runs all its local stages on each slab, writes at most one array, and lets any
number of REDUCE stages measure what it wrote.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from fibtomo.core.stage import Kind
from fibtomo.errors import PipelineError
from fibtomo.pipeline.config import Call, PipelineConfig

INPUT = "input"


@dataclass(frozen=True)
class Section:
    """One pass over one array.

    Attributes
    ----------
    index, grid
        Its number; the number of the grid it writes (0: slice frame; each WARP starts another).
    source, output
        Names of the array read and written ("input" is the raw stack); ``output`` is ``None`` if only measured.
    warp, local, measures
        The stages in order.
    notes
        Role of the table of what each of the local stages notes of the slices; "" where it notes nothing.
    kind
        Kind of volume at its end: "grey", "phases" or "objects".
    channel
        The channel that is carried along, where it is not the main one.
    """

    index: int
    grid: int
    source: str
    kind: str
    warp: Call | None = None
    local: tuple[Call, ...] = ()
    measures: tuple[Call, ...] = ()
    output: str | None = None
    notes: tuple[str, ...] = ()
    channel: str = ""

    @property
    def sees_channels(self) -> bool:
        """Whether a stage looks at all channels at once."""
        return any(call.stage.sees_channels for call in (*self.local, *self.measures))

    @property
    def title(self) -> str:
        """Names of its stages, for people."""
        names = [c.name for c in (*([self.warp] if self.warp else []), *self.local)]
        names += [f"{c.name} (measure)" if c.stage.apply else c.name for c in self.measures]
        return f"{self.channel}: {' + '.join(names)}" if self.channel else " + ".join(names)


@dataclass
class _Open:
    """A section under construction."""

    source: str
    kind: str
    grid: int
    warp: Call | None = None
    local: list[Call] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measures: list[Call] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        return self.warp is not None or bool(self.local)


def free_role(role: str, taken: Collection[str]) -> str:
    """Return `role`, numbered where tables of this name are there already.

    Examples
    --------
    >>> free_role("curtains", []), free_role("curtains", ["curtains"])
    ('curtains', 'curtains_2')
    """
    names = (f"{role}_{k}" if k > 1 else role for k in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def build_sections(config: PipelineConfig, given: Collection[str] = (), channel: str = "") -> list[Section]:
    """Cut a pipeline into sections, for the main channel or for one that finds the tables of the roles `given`.

    Raises
    ------
    PipelineError
        A stage needs a table or a kind of volume that no earlier stage makes.
    """
    return Builder(config, given, channel).build()


class Builder:
    """Walks the stages in order and keeps at most one section open."""

    def __init__(self, config: PipelineConfig, given: Collection[str] = (), channel: str = "") -> None:
        self.config = config
        self.channel = channel
        self.sections: list[Section] = []
        self.latest = {"grey": INPUT}
        self.grids = {INPUT: 0}
        self.roles: set[str] = set(given)
        self.noted: set[str] = set()
        self.open: _Open | None = None

    def build(self) -> list[Section]:
        """Return all sections, the last array of each kind named by its final place."""
        for call in self.config.calls:
            stage = call.stage
            if stage.refines and stage.produces not in self.roles | self._measured:
                continue  # what it would refine was turned off
            self._close_before(call)
            lacking = [r for r in stage.requires if r not in self.roles]
            if lacking:
                raise PipelineError(
                    f"{self.config.name}: stage '{call.name}' needs table '{lacking[0]}', which no earlier stage makes"
                )
            if stage.consumes not in self.latest and not (self.open and self.open.kind == stage.consumes):
                raise PipelineError(
                    f"{self.config.name}: stage '{call.name}' needs {stage.consumes}, which no earlier stage makes"
                )
            if stage.measure is not None:
                self._measure(call)
            if stage.apply is not None:
                self._apply(call)
        self._close()
        return _with_final_names(self.sections)

    def _opened(self, kind: str) -> _Open:
        """Return an open section whose data are the newest of `kind`."""
        if self.open is not None and self.open.kind != kind:
            self._close()
        if self.open is None:
            source = self.latest[kind]
            self.open = _Open(source, kind, self.grids[source])
        return self.open

    @property
    def _measured(self) -> set[str | None]:
        """Roles of the tables that the open section will make."""
        return {m.stage.produces for m in self.open.measures} if self.open else set()

    def _measure(self, call: Call) -> None:
        role = call.stage.produces or ""
        if call.stage.refines:
            if role not in self._measured:
                raise PipelineError(
                    f"{self.config.name}: stage '{call.name}' refines the table '{role}': it must follow the stage "
                    f"that makes it, with only measuring stages between them"
                )
        elif role in self.roles | self._measured:
            raise PipelineError(f"{self.config.name}: two stages make the table '{role}' (the second is '{call.name}')")
        self._opened(call.stage.consumes).measures.append(call)

    def _close_before(self, call: Call) -> None:
        """A stage that reads a table measured in the open section, or wants its own pass, must wait for its end."""
        wanted = {*call.stage.requires, *call.stage.optional}
        if self.open and wanted & {m.stage.produces for m in self.open.measures}:
            self._close()
        if self.open and call.stage.apart and self.open.changes:
            self._close()

    def _apply(self, call: Call) -> None:
        stage = call.stage
        if self.open is not None and (self.open.measures or stage.kind is Kind.WARP or stage.makes != stage.consumes):
            self._close()
        section = self._opened(stage.consumes)
        if stage.kind is Kind.WARP:
            section.warp = call
            section.grid = max(self.grids.values()) + 1
            self.roles |= {"valid", "grid"}
        else:
            section.local.append(call)
            section.notes.append(self._notes_of(call))
        section.kind = stage.makes
        if stage.kind is Kind.REDUCE or stage.apart:
            self._close()

    def _notes_of(self, call: Call) -> str:
        """Role of what a stage notes: the second that notes the same has a table of its own."""
        if call.stage.notes is None:
            return ""
        role = free_role(call.stage.notes, self.noted | self.roles)
        self.noted.add(role)
        return role

    def _close(self) -> None:
        o = self.open
        if o is None:
            return
        self.open = None
        index = len(self.sections)
        output = f"{index:02d}-{o.kind}" if o.changes else None
        self.sections.append(
            Section(
                *(index, o.grid, o.source, o.kind, o.warp, tuple(o.local), tuple(o.measures), output, tuple(o.notes)),
                channel=self.channel,
            )
        )
        self.roles |= {m.stage.produces or "" for m in o.measures}
        if output:
            self.latest[o.kind] = output
            self.grids[output] = o.grid
            if o.warp is not None:
                self.latest = {o.kind: output}


FINAL_PLACES = {
    "grey": "volume.ome.zarr/0",
    "phases": "volume.ome.zarr/labels/phases/0",
    "objects": "volume.ome.zarr/labels/objects/0",
}
"""Where the last array of each kind stands, in the work folder and then in the output folder."""


def _with_final_names(sections: list[Section]) -> list[Section]:
    """Let the last array of each kind be written where it will stay."""
    last = {s.kind: s.output for s in sections if s.output}
    names = {name: FINAL_PLACES[kind] for kind, name in last.items()}
    return [
        replace(s, source=names.get(s.source, s.source), output=names.get(s.output, s.output) if s.output else None)
        for s in sections
    ]
