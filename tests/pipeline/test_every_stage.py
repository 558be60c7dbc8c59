"""What every registered stage promises: chunked == whole, input untouched, parameters survive YAML."""

import numpy as np
import pytest
from stage_fixtures import CALIBRATION, array_for, params_of, spec_for, tables_for

from fibtomo.backend.array import to_dtype
from fibtomo.core.source import ArraySource
from fibtomo.core.stage import Kind, StageContext, get_stage, stage_names
from fibtomo.io.zarr_store import ZarrSource, create_array
from fibtomo.pipeline.block import SectionJob, combine_section, run_block
from fibtomo.pipeline.budget import Machine
from fibtomo.pipeline.config import Call, PipelineConfig, parse_pipeline
from fibtomo.pipeline.ledger import Ledger, write_table
from fibtomo.pipeline.plan import Resolver
from fibtomo.pipeline.sections import build_sections

NAMES = stage_names()
SLABS = (2, 7, 64)


def run_chunked(name, slab, tmp_path):
    """Run one stage (both passes) through the real block runner with a forced slab."""
    stage = get_stage(name)
    source = ArraySource(array_for(stage.consumes), spec_for(stage.consumes), CALIBRATION)
    config = PipelineConfig("t", "", (Call(name, params_of(name, tmp_path)),))
    out = tmp_path / f"slab{slab}"
    ledger = Ledger(out)
    tables, array = tables_for(stage.requires), None
    for role, table in tables.items():
        write_table(ledger.table_path(role), table)
    sections = _sections(config, stage.consumes, set(tables))
    resolver = Resolver(sections, source.spec, CALIBRATION, Machine(1e12, 1))
    resolver.slabs.update({0: slab, 1: slab})
    sources = {"input": source}
    for section in sections:
        planned = resolver.resolve(section, tables)
        job = SectionJob(section, sources[section.source], planned.out, slab, out, tuple(tables), CALIBRATION)
        if section.warp:
            call = section.warp
            ctx = StageContext(planned.source, 0, (0, 0), tables, CALIBRATION, planned.out)
            for role, table in call.stage.side_tables(call.params, ctx).items():
                tables[role] = table
                write_table(ledger.table_path(role), table)
        if section.output:
            path = ledger.array_path(section.output)
            create_array(path, planned.out.shape, planned.out.dtype, slab)
            array = sources[section.output] = ZarrSource(path, planned.out, CALIBRATION)
        for z0 in job.starts:
            run_block(job, z0)
        for role, table in combine_section(job).items():
            write_table(ledger.table_path(role), table)
            tables[role] = table
    return (None if array is None else array.read(0, array.shape[0])), tables


def _sections(config, kind, roles):
    from fibtomo.pipeline.sections import Builder

    builder = Builder(config)
    builder.latest = {kind: "input"}
    builder.roles = roles
    return builder.build()


def assert_tables_equal(a, b, path=""):
    assert type(a) is type(b) or {type(a), type(b)} <= {int, float}, path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            if key not in {"lut", "slab_starts", "offsets"}:
                assert_tables_equal(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_tables_equal(x, y, f"{path}[{k}]")
    elif isinstance(a, np.ndarray) and a.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=path)
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, err_msg=path)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-7, nan_ok=True), path
    else:
        assert a == b, path


@pytest.mark.parametrize("name", [n for n in NAMES if n != "mesh.surface"])
def test_chunked_equals_whole(name, tmp_path):
    whole, tables = run_chunked(name, SLABS[-1], tmp_path)
    for slab in SLABS[:-1]:
        part, part_tables = run_chunked(name, slab, tmp_path)
        if whole is not None:
            kind = get_stage(name).makes
            if kind == "grey":
                # stored as whole numbers: a value on the edge of rounding may fall either way
                assert np.abs(part.astype(int) - whole.astype(int)).max() <= 1
                assert np.mean(part != whole) < 1e-4
            else:
                np.testing.assert_array_equal(part, whole)
        assert_tables_equal(part_tables, tables)


def test_mesh_is_the_same_for_any_slab(tmp_path):
    def canonical(table):
        triangles = table["vertices"][table["faces"]].reshape(-1, 9)
        order = np.lexsort(np.round(triangles, 2).T)
        return np.sort(np.round(triangles[order], 2).reshape(-1, 3, 3), axis=1)

    _, whole = run_chunked("mesh.surface", SLABS[-1], tmp_path)
    for slab in SLABS[:-1]:
        _, part = run_chunked("mesh.surface", slab, tmp_path)
        assert part["mesh"]["vertices"].shape == whole["mesh"]["vertices"].shape
        assert part["mesh"]["faces"].shape == whole["mesh"]["faces"].shape
        np.testing.assert_allclose(canonical(part["mesh"]).sum(0), canonical(whole["mesh"]).sum(0), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_input_is_untouched(name, tmp_path):
    stage = get_stage(name)
    params = params_of(name, tmp_path)
    block = array_for(stage.consumes)
    if stage.consumes == "grey":
        block = block.astype(np.float32)
    kept = block.copy()
    spec = spec_for(stage.consumes).with_(dtype=str(block.dtype))
    tables = tables_for((*stage.requires, *((stage.produces,) if stage.refines else ())))
    ctx = StageContext(spec, 0, (0, len(block)), tables, CALIBRATION)
    block.setflags(write=False)
    if stage.measure:
        tables[stage.produces] = stage.combine([stage.measure(block, params, ctx)], params, ctx)
    if stage.apply:
        if stage.kind is Kind.WARP:
            out = stage.out_spec(params, ctx)
            ctx = StageContext(spec, 0, (0, len(block)), tables, CALIBRATION, out, (0, out.shape[0]))
        result = stage.apply(block, params, ctx)
        assert not np.shares_memory(result, block) or np.array_equal(result, block)
        assert to_dtype(result, "float32").shape[1:] == (ctx.out_spec or spec).shape[1:]
    np.testing.assert_array_equal(block, kept)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_survive_yaml(name, tmp_path):
    config = PipelineConfig("t", "s", (Call(name, params_of(name, tmp_path)),))
    again = parse_pipeline(config.to_yaml(), "t")
    assert again.calls == config.calls
    assert again.to_yaml() == config.to_yaml()


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_documented(name, tmp_path):
    stage = get_stage(name)
    assert stage.summary.endswith(".")
    for key, field in stage.params.model_fields.items():
        assert field.description, f"{name}.{key} has no description"
    needs = stage.needs(params_of(name, tmp_path), spec_for("grey"))
    assert needs.bytes_per_voxel >= 0


def test_sections_of_every_shipped_pipeline():
    from fibtomo.pipeline.config import load_pipeline, pipelines

    assert set(pipelines()) == {
        "default", "nanoporous-metal", "battery-electrode", "biology", "quick-look", "drift-only", "open-pores",
    }  # fmt: skip
    for name in pipelines():
        config = load_pipeline(name)
        sections = build_sections(config)
        assert sections[-1].grid <= 1
        assert parse_pipeline(config.to_yaml(), name).calls == config.calls
