"""Every stage on the stand-in for a card: it stays there, gives what the CPU gives, and declares its bytes."""

import numpy as np
import pytest
import strict_cupy
from stage_fixtures import CALIBRATION, array_for, params_of, spec_for, tables_for
from strict_cupy import card

from fibtomo.core.stage import Kind, StageContext, get_stage, stage_names

NAMES = stage_names()
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
def test_stage_stays_on_the_device_and_agrees_with_the_cpu(name, tmp_path):
    stage, params = get_stage(name), params_of(name, tmp_path)
    _, expected, expected_table, _, _ = run_stage(name, params, lambda a: a)
    with strict_cupy.installed() as cupy:
        there, found, table, _, _ = run_stage(name, params, cupy.asarray)
        np.testing.assert_array_equal(there.get(), array_for(stage.consumes))
        if stage.apply:
            assert isinstance(found, cupy.ndarray)
            found = found.get()
        _check_host(table, name, cupy)
    if expected is None:
        return
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=0.02)
    else:
        assert np.mean(found != expected) < 1e-4
    if expected_table is not None:
        assert table.keys() == expected_table.keys()


def _check_host(value, path: str, cupy) -> None:
    """Tables are kept by the host."""
    assert not isinstance(value, cupy.ndarray), path
    if isinstance(value, dict):
        for key, item in value.items():
            _check_host(item, f"{path}.{key}", cupy)


@pytest.mark.parametrize("name", NAMES)
def test_stage_takes_no_more_bytes_than_it_declares(name, tmp_path):
    """Temporaries and result, counted as a card's pool would; the block itself is not theirs."""
    stage, params = get_stage(name), params_of(name, tmp_path)
    with strict_cupy.installed() as cupy:
        _, _, _, ctx, peaks = run_stage(name, params, cupy.asarray)
    shape = (ctx.out_spec or ctx.spec).shape
    needs = stage.needs(params, ctx.out_spec or ctx.spec)
    declared = needs.bytes_per_voxel * np.prod(shape) + needs.fixed_bytes + AT_REST
    for what, peak in peaks.items():
        assert peak <= declared, f"{name} {what}: {(peak / np.prod(shape)):.1f} bytes per voxel"
