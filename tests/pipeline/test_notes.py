"""What stages note of single slices: one row per slice, whatever the blocks, halos, halves and restarts."""

import numpy as np
import pytest
from stage_fixtures import CALIBRATION, SHAPE, grey_stack, spec_for

from fibtomo.core import stage as stage_module
from fibtomo.core.params import Params
from fibtomo.core.source import ArraySource
from fibtomo.core.stage import Kind, Needs, StageDef, get_stage, register
from fibtomo.errors import CancelledError, DeviceMemoryError, PipelineError
from fibtomo.pipeline import execute as runner
from fibtomo.pipeline.config import Call, PipelineConfig
from fibtomo.pipeline.preview import preview
from fibtomo.pipeline.progress import SilentObserver

N = SHAPE[0]


class NotingParams(Params):
    """Notes which slices it saw."""

    fits: int = 1000
    silent: bool = False


def noting(block, params, ctx):
    """Note number and mean of each slice, then blur along z, so that a halo is needed; may run out of memory."""
    if len(block) > params.fits:
        raise MemoryError
    if not params.silent:
        ctx.notes.update(slice=ctx.z0 + np.arange(len(block)), mean=block.mean(axis=(1, 2)))
    padded = np.pad(block.astype(np.float32), ((1, 2), (0, 0), (0, 0)), mode="edge")
    return sum(padded[k : k + len(block)] for k in range(4)) / 4


def noting_needs(params, spec):
    return Needs(halo=(1, 2))


@pytest.fixture(autouse=True)
def stages(monkeypatch):
    get_stage("curtain.remove")  # so that all others are there
    monkeypatch.setattr(stage_module, "_REGISTRY", dict(stage_module._REGISTRY))
    for name, role in (("test.noting", "seen"), ("test.other", "others")):
        register(StageDef(name, Kind.SLAB, NotingParams, noting_needs, apply=noting, notes=role))


@pytest.fixture
def execute(monkeypatch, tmp_path):
    """Run stages in blocks of `slab` slices and return all tables."""

    def run(*calls, slab, out="out", observer=None, workers=1):
        class Forced(runner.Resolver):
            def __init__(self, *args):
                super().__init__(*args)
                self.slabs.update({0: slab, 1: slab})

        monkeypatch.setattr(runner, "Resolver", Forced)
        options = runner.RunOptions(workers=workers, budget=1e12)
        config = PipelineConfig("t", "", tuple(calls))
        return runner.execute(config, source(), tmp_path / out, options, lambda state, observer: None, observer).tables

    return run


def source():
    return ArraySource(grey_stack(), spec_for("grey"), CALIBRATION)


def call(name, **params):
    return Call(name, get_stage(name).params(**params))


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("slab", [1, 2, 7, 64])
def test_one_row_for_every_slice_with_halos_before_and_after(slab, execute):
    """The measure of the drift widens the block, and each stage the block of the one before it."""
    calls = [call("test.noting"), call("curtain.remove"), call("test.other"), call("drift.estimate")]
    tables = execute(*calls, slab=slab)
    for role in ("seen", "others"):
        np.testing.assert_array_equal(tables[role]["slice"], np.arange(N))
    np.testing.assert_allclose(tables["seen"]["mean"], grey_stack().mean(axis=(1, 2)), rtol=1e-12)
    alone = execute(*calls, slab=N, out="whole")
    assert alone["curtains"]["index"].shape == (N,)
    same(tables["seen"], alone["seen"])
    same(tables["curtains"], alone["curtains"])


@pytest.mark.parametrize(("fits", "slab"), [(3 + 4, N), (3 + 1, N), (3 + 2, 7)])
def test_a_block_halved_for_memory_notes_no_slice_twice(fits, slab, execute):
    """A block of k slices comes with a halo of three, and is halved until it fits."""
    tables = execute(call("curtain.remove"), call("test.noting", fits=fits), slab=slab)
    whole = execute(call("curtain.remove"), call("test.noting"), slab=slab, out="whole")
    np.testing.assert_array_equal(tables["seen"]["slice"], np.arange(N))
    same(tables["curtains"], whole["curtains"])
    with pytest.raises(DeviceMemoryError):
        execute(call("test.noting", fits=2), slab=slab, out="small")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_goes_on_has_the_notes_of_its_first_blocks(workers, execute, tmp_path):
    class Impatient(SilentObserver):
        seen = 0

        def advance(self, voxels):
            self.seen += 1
            self.stop = self.seen > 3

    calls = [call("curtain.remove"), call("test.noting")]
    with pytest.raises(CancelledError):
        execute(*calls, slab=2, observer=Impatient(), workers=workers)
    kept = len(list((tmp_path / "out").glob(".fibtomo-work/blocks/00/*.npz")))
    assert 3 < kept < 10
    resumed = execute(*calls, slab=2)
    undisturbed = execute(*calls, slab=2, out="undisturbed")
    for role in ("curtains", "seen"):
        same(resumed[role], undisturbed[role])
    np.testing.assert_array_equal(resumed["seen"]["slice"], np.arange(N))


@pytest.mark.parametrize("slab", [3, 64])
def test_behind_a_resample_the_slices_are_those_of_the_volume(slab, execute):
    calls = [call("test.noting"), call("geometry.resample", voxel_nm=5.0), call("test.other"), call("curtain.remove")]
    tables = execute(*calls, slab=slab)
    n = len(tables["valid"]["boxes"])
    assert n != N
    np.testing.assert_array_equal(tables["seen"]["slice"], np.arange(N))
    np.testing.assert_array_equal(tables["others"]["slice"], np.arange(n))
    assert tables["curtains"]["index"].shape == (n,)


def test_two_stages_that_note_the_same_have_a_table_each(execute):
    calls = [call("curtain.remove", strength=0.5), call("test.noting"), call("curtain.remove"), call("test.noting")]
    tables = execute(*calls, slab=4)
    alone = execute(call("curtain.remove", strength=0.5), slab=4, out="alone")
    same(tables["curtains"], alone["curtains"])
    assert tables["curtains_2"]["index"].shape == (N,)
    assert tables["curtains_2"].keys() == tables["curtains"].keys()
    assert not np.array_equal(tables["seen"]["mean"], tables["seen_2"]["mean"])
    made = preview(source(), calls, N // 2, N)
    same(made.tables["curtains"], tables["curtains"])
    np.testing.assert_array_equal(made.tables["seen_2"]["slice"], np.arange(N))


def test_a_stage_with_nothing_to_note_leaves_an_empty_table(execute):
    assert execute(call("test.noting", silent=True), slab=4)["seen"] == {}


def test_a_preview_notes_its_own_slices():
    made = preview(source(), [call("curtain.remove")], 10, 5)
    whole = preview(source(), [call("curtain.remove")], 0, N)
    assert made.z0 == 8
    same(made.tables["curtains"], {name: values[8:13] for name, values in whole.tables["curtains"].items()})


@pytest.mark.parametrize("declared", [{"kind": Kind.WARP, "apply": noting}, {"kind": Kind.REDUCE}])
def test_only_stages_that_change_slices_take_notes(declared):
    parts = {"out_spec": len, "source_range": len, "measure": len, "combine": len, "produces": "x"}
    with pytest.raises(PipelineError, match="notes"):
        register(StageDef("test.wrong", params=NotingParams, needs=len, notes="x", **parts, **declared))
