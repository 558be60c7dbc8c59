"""The stand-in refuses what a card would refuse, and what would hide a copy or a race."""

import gc

import numpy as np
import pytest
import strict_cupy
from strict_cupy import RaceError, card


@pytest.fixture
def cupy():
    with strict_cupy.installed() as module:
        yield module


@pytest.fixture
def values(cupy):
    return cupy.asarray(np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda cp, a: np.asarray(a),
        lambda cp, a: np.add.reduce(a),
        lambda cp, a: a + np.ones((3, 4)),
        lambda cp, a: np.ones((3, 4)) * a,
        lambda cp, a: a.__iadd__(np.ones((3, 4))),
        lambda cp, a: a[np.array([0])],
        lambda cp, a: a.__setitem__(0, np.zeros(4)),
        lambda cp, a: cp.concatenate([a, np.ones((3, 4))]),
        lambda cp, a: cp.where(a > 1, np.ones((3, 4)), 0),
        lambda cp, a: a.sum(where=True),
        lambda cp, a: cp.pad(a, 1, "edge", bogus=1),
        lambda cp, a: cp.add(a, a, where=True),
        lambda cp, a: cp.array([object()]),
        lambda cp, a: 3.0 in a,
        lambda cp, a: [1, 2, 3, 4][a.sum().astype("int64")],
    ],
)
def test_what_cupy_refuses_is_refused(cupy, values, misuse):
    with pytest.raises((TypeError, ValueError)):
        misuse(cupy, values)


def test_what_cupy_lacks_is_lacking(cupy, values):
    assert not hasattr(cupy, "errstate")
    assert not hasattr(values, "tobytes") or hasattr(__import__("cupy").ndarray, "tobytes")
    with pytest.raises(AttributeError):
        _ = cupy.no_such_function


def test_numbers_are_numpys(cupy, values):
    assert values.sum().shape == ()
    assert isinstance(values.sum(), cupy.ndarray)
    assert float(values[1].max()) == 7
    assert isinstance(cupy.count_nonzero(values), cupy.ndarray)
    np.testing.assert_array_equal(cupy.sort(-values, axis=0).get(), np.sort(-np.arange(12.0).reshape(3, 4), axis=0))
    np.testing.assert_array_equal(np.sqrt(values).get(), np.sqrt(np.arange(12.0)).reshape(3, 4))


def test_memory_is_counted_and_can_run_out():
    with strict_cupy.installed(memory_bytes=3 << 20) as cupy:
        from fibtomo.backend.device import select_device

        a = cupy.zeros(1 << 18, dtype="float32")
        view = a[10:]
        assert card().live_bytes == 1 << 20
        with pytest.raises(MemoryError):
            _ = cupy.zeros(3 << 18, dtype="float32")
        assert select_device("cuda:0").free_bytes == 2 << 20
        del a
        assert card().live_bytes == 1 << 20
        del view
        gc.collect()
        assert card().live_bytes == 0
        assert 1 << 20 <= card().peak_bytes <= (1 << 20) + 4096


def test_uploads_wait_for_their_stream(cupy):
    from cupyx import empty_pinned

    upload, compute = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    pinned = empty_pinned(4, "float32")
    pinned[:] = 1
    with upload:
        a = cupy.empty(4, dtype="float32")
        a.set(pinned, stream=upload)
        arrived = upload.record()
    with compute, pytest.raises(RaceError):
        a + 1
    pinned[:] = 2  # too early: the copy has not happened
    compute.wait_event(arrived)
    with compute:
        b = a + 1
    np.testing.assert_array_equal(b.get(stream=compute), 3)


@pytest.mark.parametrize("waited", [False, True])
def test_memory_is_given_back_only_when_other_streams_have_done_with_it(waited):
    def use() -> None:
        with strict_cupy.installed() as cupy:
            upload, compute = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
            with upload:
                a = cupy.zeros(4)
            compute.wait_event(upload.record())
            with compute:
                _ = a + 1
            if waited:
                compute.synchronize()
            del a

    if waited:
        use()
    else:
        with pytest.raises(RaceError, match="is given back while stream"):
            use()


def test_downloads_hold_nothing_before_they_were_waited_for(cupy):
    from cupyx import empty_pinned

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a = cupy.full(4, 5.0)
        out = empty_pinned(4)
        a.get(stream=stream, out=out, blocking=False)
    assert not np.any(out == 5)
    stream.synchronize()
    np.testing.assert_array_equal(out, 5)


def test_launches_obey_the_limits_of_a_card(cupy):
    from fibtomo.backend.kernels import load_kernel

    kernel = load_kernel("resample", SOURCE_T="uint8").get_function("resample")
    with pytest.raises(RuntimeError):
        kernel((1,), (2048,), ())
    with pytest.raises(RuntimeError):
        kernel((1, 70000), (32,), ())
    with pytest.raises(RuntimeError):
        kernel((1,), (32,), (), shared_mem=1 << 20)
    with pytest.raises(TypeError, match="was given int"):
        kernel((1,), (32,), (1,))


def test_the_real_cupy_comes_back():
    import cupy as before

    with strict_cupy.installed() as module:
        assert module is not before
    import cupy as after

    assert after is before
