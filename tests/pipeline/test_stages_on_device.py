"""Every stage on the stand-in for a card: it stays there, gives what the CPU gives, and declares its bytes."""

import numpy as np
import pytest
import strict_cupy
from stage_fixtures import CALIBRATION, array_for, params_of, spec_for, tables_for
from strict_cupy import card

from fibtomo.core.stage import Kind, StageContext, get_stage, stage_names

NAMES = stage_names()
SMALLER = {"denoise.nlm": {"reach_px": 2}}
"""Parameters of stages that the CPU executes slowly in place of a card."""
AT_REST = 64 << 10
"""Bytes of small tables that no stage declares."""


def run_stage(name: str, params, put):
    """Measure and apply on one block in the place where `put` brings it; the block, the result and the table."""
    stage = get_stage(name)
    block = array_for(stage.consumes)
    spec = spec_for(stage.consumes)
    tables = tables_for((*stage.requires, *((stage.produces,) if stage.refines else ())))
    ctx = StageContext(spec, 0, (0, len(block)), tables, CALIBRATION)
    there = put(block)
    peaks = {}
    card().reset_peak()
    before = card().live_bytes
    if stage.measure:
        tables[stage.produces] = stage.combine([stage.measure(there, params, ctx)], params, ctx)
        peaks["measure"] = card().peak_bytes - before
        card().reset_peak()
        before = card().live_bytes
    result = None
    if stage.apply:
        if stage.kind is Kind.WARP:
            out = stage.out_spec(params, ctx)
            ctx = StageContext(spec, 0, (0, len(block)), tables, CALIBRATION, out, (0, out.shape[0]))
        result = stage.apply(there, params, ctx)
        peaks["apply"] = card().peak_bytes - before
    return there, result, tables.get(stage.produces), ctx, peaks


@pytest.mark.parametrize("name", NAMES)
def test_stage_on_the_device(name, tmp_path):
    """It agrees with the CPU and takes, temporaries and result, no more bytes than it declares."""
    stage, params = get_stage(name), params_of(name, tmp_path).model_copy(update=SMALLER.get(name, {}))
    _, expected, expected_table, _, _ = run_stage(name, params, lambda a: a)
    with strict_cupy.installed() as cupy:
        there, found, table, ctx, peaks = run_stage(name, params, cupy.asarray)
        np.testing.assert_array_equal(there.get(), array_for(stage.consumes))
        if stage.apply:
            assert isinstance(found, cupy.ndarray)
            found = found.get()
        check_host(table, name, cupy)
    check_bytes(stage, params, ctx, peaks)
    check_same(found, expected, table, expected_table)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_stage_on_a_card(name, tmp_path):
    import cupy

    params = params_of(name, tmp_path)
    _, expected, expected_table, _, _ = run_stage(name, params, lambda a: a)
    _, found, table, _, _ = run_stage(name, params, cupy.asarray)
    check_same(None if found is None else found.get(), expected, table, expected_table)


def check_same(found, expected, table, expected_table) -> None:
    if expected_table is not None:
        assert table.keys() == expected_table.keys()
    if expected is None:
        return
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=0.02)
    else:
        assert np.mean(found != expected) < 1e-4


def check_host(value, path: str, cupy) -> None:
    """Tables are kept by the host."""
    assert not isinstance(value, cupy.ndarray), path
    if isinstance(value, dict):
        for key, item in value.items():
            check_host(item, f"{path}.{key}", cupy)


def check_bytes(stage, params, ctx, peaks: dict[str, int]) -> None:
    """What was counted, as a card's pool would, is within what the planner is told; the block itself is not theirs."""
    spec = ctx.out_spec or ctx.spec
    needs, voxels = stage.needs(params, spec), np.prod(spec.shape)
    for what, peak in peaks.items():
        assert peak <= needs.bytes_per_voxel * voxels + needs.fixed_bytes + AT_REST, f"{what}: {peak / voxels:.1f}"
