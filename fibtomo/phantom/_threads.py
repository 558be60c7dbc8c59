"""One function over many slices, on a few threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def per_slice(function: Callable[[int], NDArray[Any]], shape: tuple[int, int, int], dtype: DTypeLike) -> NDArray[Any]:
    """Stack ``function(k)`` for every slice k into a new array of `shape`.

    Examples
    --------
    >>> per_slice(lambda k: np.full((1, 2), k), (3, 1, 2), np.uint8).tolist()
    [[[0, 0]], [[1, 1]], [[2, 2]]]
    """
    out = np.empty(shape, dtype=dtype)

    def fill(k: int) -> None:
        out[k] = function(k)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(fill, range(shape[0])))
    return out
