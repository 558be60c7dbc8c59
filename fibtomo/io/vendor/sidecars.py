"""Text files that lie beside an image: TESCAN `.hdr`, JEOL and Hitachi `.txt`."""

from pathlib import Path

from fibtomo.io.vendor.hitachi import read_hitachi_txt
from fibtomo.io.vendor.info import VendorInfo
from fibtomo.io.vendor.jeol import read_jeol_txt
from fibtomo.io.vendor.tescan import read_tescan_hdr
from fibtomo.io.vendor.tifftags import image_size
from fibtomo.io.vendor.units import decode

_READERS = (read_hitachi_txt, read_jeol_txt, read_tescan_hdr)
_MAX_BYTES = 1 << 20


def read_sidecar(path: Path, size: tuple[int, int] | None = None) -> VendorInfo | None:
    """Facts beside the image `path`, or in it when it is a sidecar itself; ``None`` when there are none.

    `size` is (rows, columns) of the image; that of PNG and BMP is found here.
    """
    is_sidecar = path.suffix.lower() in {".txt", ".hdr"}
    for candidate in [path] if is_sidecar else _candidates(path):
        try:
            with candidate.open("rb") as file:
                text = decode(file.read(_MAX_BYTES))
        except OSError:
            continue
        for reader in _READERS:
            info = reader(text, f"sidecar {candidate.name}", size or image_size(path))
            if info is not None:
                return info
    return None


def _candidates(path: Path) -> list[Path]:
    stem, ending = path.with_suffix(""), path.suffix[1:]
    names = (
        f"{stem.name}-{ending}.hdr",
        f"{stem.name}.hdr",
        f"{path.name}.hdr",
        f"{stem.name}.txt",
        f"{path.name}.txt",
    )
    upper = tuple(f"{name[:-4]}{name[-4:].upper()}" for name in names)
    return [path.with_name(name) for name in names + upper]
