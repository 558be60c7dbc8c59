"""Draws docs/open_pores.png: a slice through open pores, its walls, and what Otsu and the light make of it.

``python docs/make_segmentation_figure.py``
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fibtomo import segment
from fibtomo.phantom import acquire
from fibtomo.report.lettering import write

HERE = Path(__file__).parent
SLICE, GAP, LINE, ENLARGED = 20, 8, 20, 2
MISSED, INVENTED = (220, 60, 50), (60, 110, 230)


def panel(grey: NDArray[np.uint8], walls: NDArray[np.bool_] | None, truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw the grey alone, or walls in white with missed ones red and invented ones blue."""
    picture = np.repeat(grey[..., None], 3, axis=2)
    if walls is not None:
        picture = np.where(walls[..., None], np.uint8(235), np.uint8(25)) * np.ones(3, np.uint8)
        picture[truth & ~walls] = MISSED
        picture[walls & ~truth] = INVENTED
    return picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def main() -> None:
    """Acquire, segment and draw."""
    run = acquire(
        {"kind": "nanoporous_metal", "wavelength_nm": 240.0, "solid_fraction": 0.4, "greys": (0.15, 0.7), "seed": 4242},
        shape=(72, 150, 190),
        pixel_nm=10.0,
        slice_nm=10.0,
        tilt_corrected=True,
        tracked=True,
        seed=4242,
        artefacts={"shine_through": {"decay_nm": 240.0}, "noise": {"electrons": 800.0, "read": 0.015}},
    )
    truth = (run.truth.phase > 0)[SLICE]
    grey = run.slices[SLICE]
    otsu = (segment(run.slices, method="otsu") == 1)[SLICE]
    light = (segment(run.slices, shine_through=True, voxel_nm=10.0) == 1)[SLICE]
    panels = [
        ("the face: back walls shine through its pores", panel(grey, None, truth)),
        (f"Otsu: walls {100 * otsu.mean():.0f} %, in truth {100 * truth.mean():.0f} %", panel(grey, otsu, truth)),
        (f"shine_through=True: walls {100 * light.mean():.0f} %", panel(grey, light, truth)),
    ]
    height, width = panels[0][1].shape[:2]
    canvas = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + LINE), "white")
    pen = ImageDraw.Draw(canvas)
    for k, (caption, picture) in enumerate(panels):
        left = k * (width + GAP)
        canvas.paste(Image.fromarray(picture), (left, LINE))
        write(pen, (left, 2), caption, 13, "black")
    canvas.save(HERE / "open_pores.png", optimize=True)


if __name__ == "__main__":
    main()
