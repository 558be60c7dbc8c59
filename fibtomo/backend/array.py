"""Array-module lookup: NumPy in, NumPy functions; CuPy in, CuPy functions. cupy is never imported unless used."""

import sys
from types import ModuleType
from typing import Any

import numpy as np


def is_cupy(a: Any) -> bool:
    """Whether `a` is a CuPy array (without importing cupy)."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(a, cupy.ndarray)


def namespace(a: Any) -> ModuleType:
    """Return `numpy` or `cupy`, whichever `a` belongs to."""
    if is_cupy(a):
        import cupy

        return cupy  # type: ignore[no-any-return]
    return np


def ndimage(a: Any) -> ModuleType:
    """Return `scipy.ndimage` or `cupyx.scipy.ndimage` for arrays like `a`."""
    if is_cupy(a):
        import cupyx.scipy.ndimage

        return cupyx.scipy.ndimage  # type: ignore[no-any-return]
    import scipy.ndimage

    return scipy.ndimage  # type: ignore[no-any-return]


def fft(a: Any) -> ModuleType:
    """Return `scipy.fft` or `cupyx.scipy.fft` for arrays like `a`."""
    if is_cupy(a):
        import cupyx.scipy.fft

        return cupyx.scipy.fft  # type: ignore[no-any-return]
    import scipy.fft

    return scipy.fft  # type: ignore[no-any-return]


def to_host(a: Any) -> np.ndarray[Any, Any]:
    """Return `a` as a NumPy array; a NumPy array comes back as it is."""
    return a.get() if is_cupy(a) else np.asarray(a)


def as_array(a: Any) -> Any:
    """Return anything that holds an array (list, lazy array, `Stack`) as a NumPy array; a CuPy array stays."""
    return a if is_cupy(a) else np.asarray(a)


def like(a: Any, host: np.ndarray[Any, Any]) -> Any:
    """Return the NumPy array `host` as the kind of array that `a` is."""
    return namespace(a).asarray(host)


def to_dtype(a: Any, dtype: "np.dtype[Any] | str") -> Any:
    """Round and clip to an integer dtype, or cast to a float one; never wraps around."""
    xp, dt = namespace(a), np.dtype(dtype)
    if a.dtype == dt:
        return a
    if dt.kind in "iu" and a.dtype.kind == "f":
        info = np.iinfo(dt)
        whole = xp.rint(a)
        return xp.clip(whole, info.min, info.max, out=whole).astype(dt)
    return a.astype(dt)
