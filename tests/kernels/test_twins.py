"""Every kernel computes what its CPU twin computes: one set of exercises, on NumPy, on the stand-in, on a card."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import strict_cupy
from exercises import NAMES, all_cases, compare, exercises_of, on_device, on_host

from fibtomo.backend.kernels import kernel_source

CASES = [pytest.param(name, run, id=f"{name}-{label}") for name, label, run in all_cases()]
launched: dict[str, set[str]] = {name: set() for name in NAMES}


@pytest.mark.parametrize(("name", "run"), CASES)
def test_kernel_equals_its_twin_in_any_order_of_threads(name, run, harness):
    expected = on_host(run)
    found = []
    for order in (0, 1, 7):
        with strict_cupy.installed(order=order):
            found.append(on_device(run))
            note_launches(name)
    compare(found[0], expected, exercises_of(name).TOLERANCE)
    for other in found[1:]:
        for key, value in found[0].items():
            np.testing.assert_array_equal(other[key], value, err_msg=key)


def note_launches(name: str) -> None:
    launched[name] |= {key[7:] for key in strict_cupy.card().counts if key.startswith("launch ")}


@pytest.mark.parametrize("name", NAMES)
def test_every_kernel_is_launched(name, harness):
    """By the exercises of its source, which have run before if all of this file runs."""
    if not launched[name]:
        with strict_cupy.installed():
            for _, run in exercises_of(name).cases():
                on_device(run)
            note_launches(name)
    entries = set(re.findall(r"__global__ [^(]*?(?:\([^)]*\) )?void (\w+)", kernel_source(name)))
    assert entries
    assert entries <= launched[name]


def test_kernels_are_defined_everywhere_and_stay_inside_their_arrays(harness):
    """UBSan, and a guarded page behind every array, in a process that they may kill."""
    repo = Path(__file__).parents[2]
    paths = [str(repo), str(repo / "tests"), str(repo / "tests/kernels")]
    code = f"""
import sys
sys.path[:0] = {paths!r}
import strict_cupy
from exercises import all_cases, on_device
for name, label, run in all_cases():
    print(name, label, flush=True)
    with strict_cupy.installed(check=True, guard=True):
        on_device(run)
print("clean")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=500)
    last = result.stdout.splitlines()[-1:]
    assert last == ["clean"], f"{last} ended with {result.returncode}: {result.stderr[-2000:]}"


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "run"), CASES)
def test_card_equals_twin(name, run):
    compare(on_device(run), on_host(run), exercises_of(name).TOLERANCE)
