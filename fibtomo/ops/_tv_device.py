"""Launches of ``kernels/tv.cu``: the loops behind `fibtomo.ops.total_variation` on a CUDA device."""

from typing import Any

from fibtomo.backend.kernels import launch, load_kernel

Array = Any


def iterate(
    data: Array, u: Array, ahead: Array, dual: Array, seen: Any, weight: float, along_z: float, steps: Array
) -> None:
    """Do the iterations; as `fibtomo.ops._tv_kernels.iterate`, `steps` on the host."""
    module, factor, radius = load_kernel("tv"), float(along_z), float(1 / weight)
    raising = "raise_duals" if seen is None else "raise_seen_duals"
    sources = (ahead,) if seen is None else (ahead, seen)
    for sigma, tau, theta in steps.tolist():
        launch(module, raising, data.shape, (*sources, dual, sigma, factor, radius, *data.shape))
        launch(module, "lower_greys", data.shape, (data, dual, u, ahead, tau, theta, factor, *data.shape))
