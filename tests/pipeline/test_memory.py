"""Memory is bounded by the budget, not by the number of slices."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile


def write_stack(folder: Path, n: int, side: int = 1024) -> None:
    from scipy.ndimage import gaussian_filter

    folder.mkdir()
    rng = np.random.default_rng(0)
    base = [gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), 12) for _ in range(2)]
    for k in range(n):
        phase = 2 * np.pi * k / 60
        field = np.cos(phase) * base[0] + np.sin(phase) * base[1]
        grey = np.where(field > 0, 160, 80) + rng.normal(0, 8, field.shape)
        tifffile.imwrite(folder / f"s_{k:04d}.tif", np.clip(grey, 0, 255).astype(np.uint8))


def peak_rss(argv: list[str]) -> float:
    """Largest resident memory of a process with all its children, bytes."""
    process = subprocess.Popen(argv)
    watched = psutil.Process(process.pid)
    peak = 0
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(p.memory_info().rss for p in family))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.02)
    assert process.returncode == 0
    return peak


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_memory_does_not_grow_with_the_stack(tmp_path):
    peaks = {}
    for n in (80, 240):
        write_stack(tmp_path / f"s{n}", n)
        command = [sys.executable, "-m", "fibtomo", "run", str(tmp_path / f"s{n}"), "-o", str(tmp_path / f"o{n}"), "-q"]
        peaks[n] = peak_rss([*command, "--voxel-nm", "5", "5", "5"])
    assert peaks[240] < 2.5e9
    assert peaks[240] < 1.25 * peaks[80]
