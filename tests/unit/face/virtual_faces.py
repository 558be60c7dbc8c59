"""Virtual acquisitions with and without layers, small enough to make many."""

from functools import cache

import numpy as np

from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces
from fibtomo.phantom import acquire
from fibtomo.phantom.capped import Capped
from fibtomo.phantom.packing import InclinedColumns, Particles, Polycrystal
from fibtomo.phantom.specimens import Layered, NanoporousMetal, Tpms
from fibtomo.phantom.trench import Trench

SHAPE = (20, 144, 192)
IMAGED = {
    "jitter": {"rms_px": 0.4},
    "drift": {"rate_px": 0.05},
    "curtains": {"rms": 0.025},
    "defocus": {"best_px": 0.5, "worst_px": 0.8},
    "flicker": True,
    "noise": True,
}


def metal(seed):
    return NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=150.0, waves=40, seed=seed)


def layer(grey, spread=0.03):
    return Polycrystal(greys=(grey - spread, grey, grey + spread), grain_nm=25.0)


def one_grey(grey):
    return Polycrystal(greys=(grey,))


FACES = {
    "bright": lambda s: Trench(below=metal(s), cap=layer(0.93)),
    "dark": lambda s: Trench(below=metal(s), cap=layer(0.1)),
    "inclined": lambda s: Trench(below=metal(s), cap=layer(0.93), incline_deg=5.0, surface_nm=200.0),
    "inclined back": lambda s: Trench(below=metal(s), cap=layer(0.93), incline_deg=-4.0),
    "wavy": lambda s: Trench(below=metal(s), cap=layer(0.93), waviness_nm=12.0, wave_nm=400.0),
    "thin": lambda s: Trench(below=metal(s), cap=layer(0.93), surface_nm=65.0),
    "half": lambda s: Trench(below=metal(s), cap=layer(0.93), surface_nm=450.0),
    "vacuum": lambda s: Trench(below=metal(s), cap=layer(0.93), cap_nm=120.0),
    "marks": lambda s: Capped(below=metal(s), surface_nm=300.0, mark_spacing_nm=250.0),
    "grains below": lambda s: Trench(below=Polycrystal(grain_nm=150.0, seed=s), cap=layer(0.93)),
}

OTHERS = {
    "deep and wavy": lambda s: Trench(
        below=metal(s), cap=layer(0.93), surface_nm=600.0, waviness_nm=15.0, wave_nm=500.0
    ),
    "walls": lambda s: Trench(below=metal(s), surface_nm=-1e5, left_nm=120.0, right_nm=840.0),
    "all round": lambda s: Trench(
        below=metal(s), cap=layer(0.93), surface_nm=300.0, left_nm=100.0, right_nm=860.0, floor_nm=800.0
    ),
}

SPECIMENS = {
    "metal": metal,
    "coarse metal": lambda s: NanoporousMetal(wavelength_nm=500.0, waves=40, seed=s),
    "dense metal": lambda s: NanoporousMetal(solid_fraction=0.93, waves=40, seed=s),
    "gyroid": lambda s: Tpms(period_nm=200.0 + 10 * s),
    "flat layers": lambda s: Layered(inclination_deg=0.0, azimuth_deg=0.0),
    "layers": lambda s: Layered(inclination_deg=4.0 + s, azimuth_deg=3.0),
    "two layers": lambda s: Layered(
        greys=(0.3, 0.7), thickness_nm=(400.0, 900.0), inclination_deg=0.0, azimuth_deg=1.0
    ),
    "grains": lambda s: Polycrystal(grain_nm=400.0, seed=s),
    "large grains": lambda s: Polycrystal(grain_nm=1500.0, seed=s),
    "columns": lambda s: InclinedColumns(seed=s),
    "particles": lambda s: Particles(greys=(0.2, 0.8), radius_nm=90.0, seed=s),
    "few particles": lambda s: Particles(greys=(0.2, 0.8), fraction=0.05, seed=s),
    "one phase": lambda s: one_grey(0.5),
    "skin of its own": lambda s: Trench(below=metal(s), cap=one_grey(0.72), surface_nm=250.0),
    "resin on top": lambda s: Trench(below=metal(s), cap=one_grey(0.28), surface_nm=250.0, waviness_nm=30.0),
    "large mineral on top": lambda s: Trench(below=Polycrystal(grain_nm=250.0, seed=s), cap=one_grey(0.54)),
}


@cache
def acquired(specimen, seed=0, shape=SHAPE, tracked=True, slice_nm=20.0, tilt_corrected=False, artefacts=None):
    """Acquire a specimen from one of the dictionaries above."""
    return acquire(
        (FACES | OTHERS | SPECIMENS)[specimen](seed),
        shape=shape,
        slice_nm=slice_nm,
        seed=seed,
        tracked=tracked,
        tilt_corrected=tilt_corrected,
        artefacts=IMAGED if artefacts is None else artefacts,
        oversample=1,
    )


def face_of(acquisition, shifts_px=None):
    """The table of the face, with the true motion unless another is given."""
    shifts = acquisition.truth.shifts_px if shifts_px is None else shifts_px
    return find_face(measure_faces(acquisition.slices), acquisition.slices.shape[1:], shifts)


def true_surface_px(acquisition):
    """(n,) row of the surface at the middle column."""
    truth = acquisition.truth
    _, dy, dx = truth.geometry.true_voxel_nm
    x = ((truth.shape[2] - 1) / 2 - truth.shifts_px[:, 1]) * dx
    specimen = truth.specimen
    surface = specimen.surface_at(truth.slice_z_nm, x) if isinstance(specimen, Trench) else specimen.surface_nm
    return np.asarray(surface) / dy + truth.shifts_px[:, 0]
