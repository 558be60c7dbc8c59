"""Writes docs/stages.md and docs/pipelines.md from the registry, so that they cannot drift from the code."""

import sys
from pathlib import Path

from fibtomo.core.stage import get_stage, stage_names
from fibtomo.pipeline.config import load_pipeline, pipelines

HERE = Path(__file__).parent


def stages_page() -> str:
    """All stages with kind, tables and parameters."""
    lines = ["# Stages", "", "Made from the stages' own declarations by `make docs`.", ""]
    for name in stage_names():
        stage = get_stage(name)
        flow = f"{stage.consumes} → {stage.makes}" if stage.apply else f"{stage.consumes} → table `{stage.produces}`"
        lines += [f"## {name}", "", stage.summary, "", f"Kind `{stage.kind.value}`; {flow}."]
        if stage.citation:
            lines += [f"Method: {stage.citation}."]
        if stage.params.model_fields:
            lines += ["", "| parameter | default | meaning |", "|---|---|---|"]
            for key, field in stage.params.model_fields.items():
                default = "required" if field.is_required() else f"`{field.default}`"
                lines.append(f"| `{key}` | {default} | {(field.description or '').replace('|', '/')} |")
        lines.append("")
    return "\n".join(lines)


def pipelines_page() -> str:
    """All shipped pipelines with every parameter."""
    lines = ["# Pipelines", "", "Made from `pipelines/*.yaml` by `make docs`; every parameter is written out.", ""]
    for name, summary in pipelines().items():
        lines += [f"## {name}", "", summary, "", "```yaml", load_pipeline(name).to_yaml().rstrip(), "```", ""]
    return "\n".join(lines)


PAGES = {"stages.md": stages_page, "pipelines.md": pipelines_page}


def main() -> int:
    """Write the pages; with ``--check`` only say whether they are up to date."""
    stale = [n for n, page in PAGES.items() if not _current(n, page())]
    if "--check" in sys.argv:
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(PAGES[name](), encoding="utf-8")
    return 0


def _current(name: str, text: str) -> bool:
    path = HERE / name
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
