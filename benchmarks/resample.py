"""Fused resample against SciPy and SimpleITK on one job: ``python benchmarks/resample.py``.

The job takes raw slices to isotropic voxels, without drift, so that an affine map describes it and every tool can do
it; fibtomo's time does not depend on drift. SciPy's order 3 is a B-spline with a prefilter over the whole volume, the
usual choice for a smooth result. Warped slices and axes of the sample surface stand beside map_coordinates, which is
given the finished coordinates.
"""

import argparse
from collections.abc import Callable
from time import perf_counter, process_time

import numpy as np
import scipy.ndimage
import SimpleITK

from fibtomo.backend.device import default_workers
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import ResampleGrid, make_grid
from fibtomo.core.warp import Warp
from fibtomo.ops.resample import resample_stack

Volume = np.ndarray


def best_of(repeats: int, job: Callable[[], Volume]) -> tuple[float, float, Volume]:
    """Shortest wall and CPU times in seconds (each over all repeats) after one call to warm up, and the result."""
    result, wall, cpu = job(), [], []
    for _ in range(repeats):
        start, start_cpu = perf_counter(), process_time()
        result = job()
        wall.append(perf_counter() - start)
        cpu.append(process_time() - start_cpu)
    return min(wall), min(cpu), result


def steps(grid: ResampleGrid) -> np.ndarray:
    return np.array([1 / grid.z_index[1], grid.row_scale, grid.col_scale])


def by_scipy(stack: Volume, grid: ResampleGrid, order: int) -> Volume:
    return scipy.ndimage.affine_transform(
        stack, steps(grid), output_shape=grid.shape, order=order, mode="nearest", output=np.float32
    )


def by_map_coordinates(stack: Volume, grid: ResampleGrid, order: int) -> Volume:
    at = np.meshgrid(*(np.arange(n) * s for n, s in zip(grid.shape, steps(grid), strict=True)), indexing="ij")
    return scipy.ndimage.map_coordinates(stack, at, order=order, mode="nearest", output=np.float32)


def general_places(grid: ResampleGrid, slice_voxels: float) -> Volume:
    """(3, z, y, x) source coordinates of a warped or turned grid; the warp of the nearest slice, for timing."""
    z, row = grid.places(0, grid.shape[0])
    col = grid.col_start[0] + np.arange(grid.shape[2]) * grid.col_scale
    at = np.empty((3, *grid.shape), np.float32)
    at[0], at[1], at[2] = (z / slice_voxels)[..., None], (grid.row_start[0] + row)[..., None], col
    if grid.warp is not None:
        for plane in range(grid.shape[0]):
            k = np.clip(np.rint(at[0, plane]).astype(int), 0, len(grid.usable) - 1)
            at[1:, plane] += np.moveaxis(grid.warp(k, at[1, plane], at[2, plane]), -1, 0)
    return at


def by_itk(stack: Volume, grid: ResampleGrid, interpolator: int, workers: int) -> Volume:
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetSize(grid.shape[::-1])
    resampler.SetOutputSpacing(steps(grid)[::-1].tolist())
    resampler.SetInterpolator(interpolator)
    resampler.SetOutputPixelType(SimpleITK.sitkFloat32)
    resampler.SetNumberOfThreads(workers)
    return SimpleITK.GetArrayFromImage(resampler.Execute(SimpleITK.GetImageFromArray(stack)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(48, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    stack = np.random.default_rng(0).integers(0, 65535, options.shape, dtype=np.uint16)
    geometry = Geometry(voxel_nm=(10.0, 5.0, 5.0), column_angle_deg=52.0, tracked=True, sample_tilt_deg=40.0)
    grid = make_grid(geometry, stack.shape, voxel_nm=5.0)
    workers = options.workers
    print(f"uint16 {stack.shape} -> float32 {grid.shape}, {workers} threads, best of {options.repeats}\n")

    def ours(method: str, target: ResampleGrid = grid) -> Callable[[], Volume]:
        return lambda: resample_stack(stack, target, method=method, workers=workers)

    def map_general(target: ResampleGrid, order: int) -> Callable[[], Volume]:
        at = general_places(target, target.z_index[1])
        return lambda: scipy.ndimage.map_coordinates(stack, at, order=order, mode="constant", output=np.float32)

    frame = stack.shape[1:]
    warp = Warp(np.random.default_rng(1).normal(size=(len(stack), 9, 9, 2)), frame)
    warped = make_grid(geometry, stack.shape, voxel_nm=5.0, warp=warp)
    turned = make_grid(geometry, stack.shape, voxel_nm=5.0, axes="surface")
    both = make_grid(geometry, stack.shape, voxel_nm=5.0, warp=warp, axes="surface")

    groups = [
        (
            ("fibtomo linear", ours("linear")),
            ("scipy affine_transform, order 1", lambda: by_scipy(stack, grid, 1)),
            ("scipy map_coordinates, order 1", lambda: by_map_coordinates(stack, grid, 1)),
            ("SimpleITK linear", lambda: by_itk(stack, grid, SimpleITK.sitkLinear, workers)),
        ),
        (
            ("fibtomo cubic", ours("cubic")),
            ("scipy affine_transform, order 3", lambda: by_scipy(stack, grid, 3)),
            ("scipy map_coordinates, order 3", lambda: by_map_coordinates(stack, grid, 3)),
            ("SimpleITK B-spline, order 3", lambda: by_itk(stack, grid, SimpleITK.sitkBSpline, workers)),
        ),
        (("fibtomo lanczos3", ours("lanczos3")),),
        *(
            (
                (f"fibtomo {name}, {method}", ours(method, target)),
                (f"scipy map_coordinates, order {order}", map_general(target, order)),
            )
            for name, target in (("warped", warped), ("surface", turned), ("warped surface", both))
            for method, order in (("linear", 1), ("cubic", 3))
        ),
    ]
    print(f"{'':34}{'ms':>8}{'cpu ms':>8}{'Mvoxel/s':>10}{'ratio':>7}{'cpu ratio':>11}{'rms difference':>16}")
    for group in groups:
        reference = best_of(options.repeats, group[0][1])
        for name, job in group:
            wall, cpu, result = reference if job is group[0][1] else best_of(options.repeats, job)
            core = (slice(8, -8),) * 3
            difference = np.sqrt(np.mean((result[core] - reference[2][core]) ** 2)) / 65535
            print(
                f"{name:34}{wall * 1e3:8.0f}{cpu * 1e3:8.0f}{result.size / wall / 1e6:10.1f}"
                f"{wall / reference[0]:7.1f}{cpu / reference[1]:11.1f}{difference:16.1e}"
            )
        print()


if __name__ == "__main__":
    main()
