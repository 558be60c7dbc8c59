"""Known curtains on real images, and what is done to images that have none of ours; for ``curtaining.py real``."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import tifffile
from curtain_faces import Plane, streaks

CASES = [(a, d) for d in (0.0, 4.0) for a in (0.02, 0.05)]


class Source(NamedTuple):
    """A file below the data folder, the part of it that shows the specimen, and whether to turn it by 90°."""

    path: str
    rows: slice = slice(None)
    columns: slice = slice(None)
    turned: bool = False


SOURCES = {
    "C. elegans, slice 0": Source("stacks/c_elegans_em_21slices/c_elegans_em_z0000.tif"),
    "C. elegans, slice 20": Source("stacks/c_elegans_em_21slices/c_elegans_em_z0020.tif"),
    "neuropil (gala), slice 25": Source("stacks/gala_train-image.h5"),
    "Zeiss, eutectic": Source("vendor/zeiss/1-as-cast_16_Sch_10k_InLens.tif", slice(0, 680)),
    "Zeiss, eutectic, turned": Source("vendor/zeiss/1-as-cast_16_Sch_10k_InLens.tif", slice(0, 680), turned=True),
    "Zeiss Merlin, steel": Source("vendor/zeiss/test_tiff_Zeiss_SEM_1k.tif", slice(90, 630), slice(60, 960)),
    "Zeiss Merlin, opal": Source("vendor/zeiss/zeiss_tiff_meta_test.tif"),
    "ThermoFisher, ASV slice": Source("vendor/thermofisher/asv_SEM_Image-SliceImage-001.tif"),
    "ThermoFisher Quanta": Source("vendor/thermofisher/quanta_image.tif", slice(0, 880)),
    "graphite (pyvsnr), turned": Source("curtaining/pyvsnr_fib_sem_sample.tif", slice(600, 1624), slice(0, 1024), True),
}


def images(data: Path) -> Iterator[tuple[str, Plane | str]]:
    """Names and planes, or the reason why there is none."""
    for name, source in SOURCES.items():
        path = data / source.path
        if not path.is_file():
            yield name, f"skipped: no file {source.path}"
            continue
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                plane = file["stack"][25]
        else:
            plane = tifffile.imread(path)
        plane = (plane if plane.ndim == 2 else plane[..., 0])[source.rows, source.columns]
        yield name, np.ascontiguousarray(plane.T if source.turned else plane)


def striped(plane: Plane, rms: float, angle_deg: float, seed: int = 0) -> Plane:
    """The plane with streaks of the given rms, in units of its range from the 0.5th to the 99.5th percentile."""
    added = streaks(plane.shape, angle_deg, (1, 10), np.random.default_rng(seed))
    grey = plane + added * (rms * span(plane) / added.std())
    return np.clip(np.rint(grey), 0, np.iinfo(plane.dtype).max).astype(plane.dtype)


def span(plane: Plane) -> float:
    return float(np.ptp(np.percentile(plane, (0.5, 99.5))))


def error(out: Plane, truth: Plane) -> float:
    return float(np.sqrt(np.mean((np.asarray(out, np.float64) - truth) ** 2)))


def real_table(known: dict[str, Callable[[Plane], Plane]], data: Path | None) -> None:
    """Print, per image and filter, the gain in dB of every case, and the rms change of the image as it is."""
    if data is None or not data.is_dir():
        print(f"real images: skipped, {'--data is not given' if data is None else f'{data} is no folder'}")
        return
    heads = "".join(f"{f'A={a:.2f} {d:g} deg':>14s}" for a, d in CASES)
    print(f"{'gain over the input, dB':28s}{'':30s}{heads}{'change of the image, % of its range':>38s}")
    for name, plane in images(data):
        if isinstance(plane, str):
            print(f"{name:28s}{plane}")
            continue
        dirty = [striped(plane, *case) for case in CASES]
        for title, run in known.items():
            outs = [run(v.astype(np.float32)) for v in dirty]
            gains = [20 * np.log10(error(v, plane) / error(out, plane)) for v, out in zip(dirty, outs, strict=True)]
            change = 100 * error(run(plane.astype(np.float32)), plane) / span(plane)
            print(f"{name:28s}{title:30s}{''.join(f'{g:14.2f}' for g in gains)}{change:24.2f}", flush=True)
