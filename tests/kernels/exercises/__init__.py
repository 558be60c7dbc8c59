"""What each kernel is tried on: one module per source, run on NumPy, on the stand-in and on a card.

A module has ``cases()``, which yields a label and ``run(put)``: `put` brings a NumPy array to the place under test, and
what comes back is a dictionary of arrays. ``TOLERANCE`` says how closely the places agree, 0 for whole numbers.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fibtomo._resources import resource_dir

NAMES = sorted(path.stem for path in resource_dir("kernels").glob("*.cu"))
Run = Callable[[Callable[[np.ndarray], Any]], dict[str, Any]]


def exercises_of(name: str) -> Any:
    """Module with the exercises of ``kernels/<name>.cu``."""
    return importlib.import_module(f"exercises.{name}")


def all_cases() -> Iterator[tuple[str, str, Run]]:
    """Kernel source, label and function of every exercise."""
    for name in NAMES:
        for label, run in exercises_of(name).cases():
            yield name, label, run


def on_host(run: Run) -> dict[str, np.ndarray]:
    """Results with NumPy and the twin."""
    return {key: np.asarray(value) for key, value in run(lambda array: array).items()}


def on_device(run: Run) -> dict[str, np.ndarray]:
    """Results on whatever is called cupy now; all of them must have stayed there."""
    import cupy

    found = run(cupy.asarray)
    strayed = [key for key, value in found.items() if not isinstance(value, cupy.ndarray)]
    if strayed:
        raise TypeError(f"{', '.join(strayed)} came back to the host")
    return {key: value.get() for key, value in found.items()}


def compare(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: dict[str, float]) -> float:
    """Return the largest difference; raise ``AssertionError`` where the places differ by more than `tolerance`.

    Its "outliers" is the share of elements that may differ more, such as places half way between two samples.
    """
    limits = {key: value for key, value in tolerance.items() if key != "outliers"}
    most = 0.0
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        assert found[key].shape == value.shape, key
        near = np.isclose(found[key], value, equal_nan=True, **limits)
        if not tolerance.get("outliers") or np.mean(~near) > tolerance["outliers"]:
            np.testing.assert_allclose(found[key], value, err_msg=key, **limits)
        wide = complex if value.dtype.kind == "c" else float
        finite = near & np.isfinite(value.astype(wide))
        most = max(most, float(np.abs(found[key][finite].astype(wide) - value[finite]).max(initial=0.0)))
    return most
