"""Draws docs/curtains_phantom.png, and docs/curtains_real.png where a folder of real images is given.

``python docs/make_restoration_figures.py [DATA]``
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fibtomo import remove_curtaining
from fibtomo.phantom import acquire
from fibtomo.phantom.artefacts import Artefacts, Curtains, Defocus
from fibtomo.phantom.packing import Particles
from fibtomo.phantom.specimens import NanoporousMetal
from fibtomo.report.lettering import write

HERE = Path(__file__).parent
GAP, LINE, GREYS = 8, 20, 32
Grey = NDArray[np.float64]


class Crop(NamedTuple):
    """A part of a real image: file below the data folder, rows and columns, pixels averaged, and what to say of it."""

    path: str
    rows: slice
    columns: slice
    binned: int
    caption: str


CROPS = (
    Crop(
        "vendor/zeiss/InLens_keyframe_00001_slice_00006_z=1.6659um.tif",
        slice(180, 879),
        slice(0, 1020),
        3,
        "Key frame of a slice-and-view run, Zeiss ATLAS (kit-data-manager/SEM-Mapping-Tool, CC0-1.0)",
    ),
    Crop(
        "curtaining/pyvsnr_fib_sem_sample.tif",
        slice(600, 1300),
        slice(1400, 2100),
        2,
        "Graphite composite, at half size (sample image of pyvsnr 1.0.0, GPL-3)",
    ),
    Crop(
        "vendor/thermofisher/asv_SEM_Image-SliceImage-001.tif",
        slice(560, 980),
        slice(500, 1000),
        1,
        "Al alloy pillar, Auto Slice & View (kit-data-manager/tomo_mapper, Apache-2.0)",
    ),
)


def picture(plane: Grey, low: float, high: float, binned: int) -> Image.Image:
    """Grey values as an image, averaged over boxes."""
    ny, nx = (n // binned * binned for n in plane.shape)
    small = plane[:ny, :nx].reshape(ny // binned, binned, nx // binned, binned).mean(axis=(1, 3))
    return Image.fromarray(np.clip(np.rint((small - low) / (high - low) * 255), 0, 255).astype(np.uint8))


def strip(titles: tuple[str, ...], panels: list[Image.Image], caption: str) -> Image.Image:
    """Panels side by side below their titles, a caption under them."""
    width = sum(p.width for p in panels) + GAP * (len(panels) - 1)
    page = Image.new("L", (width, panels[0].height + 2 * LINE + GAP), 255)
    draw = ImageDraw.Draw(page)
    x = 0
    for title, panel in zip(titles, panels, strict=True):
        write(draw, (x, 3), title, 14, 0)
        page.paste(panel, (x, LINE))
        x += panel.width + GAP
    write(draw, (0, panels[0].height + LINE + 3), caption, 13, 60)
    return page


def save(strips: list[Image.Image], name: str) -> None:
    """Write strips below each other, in few greys so that the file stays small."""
    page = Image.new("L", (max(s.width for s in strips), sum(s.height for s in strips)), 255)
    for j, part in enumerate(strips):
        page.paste(part, (0, sum(s.height for s in strips[:j])))
    levels = (np.asarray(page) // (256 // GREYS)).astype(np.uint8)
    few = Image.fromarray(levels, mode="P")
    few.putpalette([round(v * 255 / (GREYS - 1)) for v in range(GREYS) for _ in range(3)])
    few.save(HERE / name, optimize=True)


def real(data: Path) -> None:
    """Before, after and what was removed, stretched; the whole image is filtered, a part of it shown."""
    strips = []
    for crop in CROPS:
        plane = tifffile.imread(data / crop.path)
        part = (crop.rows, crop.columns)
        out, layer = remove_curtaining(plane.astype(np.float32), return_curtain=True)
        low, high = np.percentile(plane[part], (0.5, 99.5))
        reach = 4 * float(layer[part].std()) or 1.0
        panels = [picture(a[part].astype(float), low, high, crop.binned) for a in (plane, out)]
        panels.append(picture(layer[part].astype(float), -reach, reach, crop.binned))
        times = f"removed, contrast x {(high - low) / (2 * reach):.1f}" if layer.any() else "removed: nothing"
        strips.append(strip(("before", "after", times), panels, crop.caption))
    save(strips, "curtains_real.png")


def phantom() -> None:
    """A virtual slice with curtains, of which the truth is known."""
    binder = NanoporousMetal(greys=(0.2, 0.48), wavelength_nm=200.0, solid_fraction=0.45, seed=1)
    specimen = Particles(greys=(0.2, 0.48, 0.8), radius_nm=260.0, spread=0.25, fraction=0.3, matrix=binder, seed=1)

    def slice_with(curtains: Curtains | None) -> Grey:
        effects = Artefacts(curtains=curtains, defocus=Defocus(best_px=0.6, worst_px=0.6))
        run = acquire(
            specimen, shape=(1, 360, 360), tilt_corrected=True, tracked=True, artefacts=effects, dtype="float32"
        )
        return run.slices[0].astype(float)

    clean = slice_with(None)
    truth = slice_with(Curtains(rms=0.05, angle_deg=2.0)) - clean
    noise = 0.03 * np.random.default_rng(0).normal(size=clean.shape)
    out, layer = remove_curtaining((clean + truth + noise).astype(np.float32), return_curtain=True)
    greys = [picture(a, 0.0, 1.0, 1) for a in (clean + truth + noise, out)]
    layers = [picture(a, -0.2, 0.2, 1) for a in (layer, truth - truth.mean())]
    before, after = (float(np.std(a - clean - noise)) for a in (clean + truth + noise, out))
    caption = (
        "Virtual slice of an electrode (pores, binder, particles) with noise of 0.03. Error, noise left out: "
        f"{before:.3f} before, {after:.3f} after."
    )
    titles = ("before", "after", "removed, contrast x 2.5", "the curtains put in, contrast x 2.5")
    save([strip(titles, greys + layers, caption)], "curtains_phantom.png")


def main() -> None:
    """Write the figures."""
    phantom()
    if len(sys.argv) > 1:
        real(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
