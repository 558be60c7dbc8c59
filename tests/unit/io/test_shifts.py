"""Alignments of other programs: signs, frames and steps as those programs define them, and what is refused."""

import re
from math import cos, radians, sin

import numpy as np
import pytest

from fibtomo.core.drift import Drift
from fibtomo.errors import InputError
from fibtomo.io.shifts import read_shifts, write_shifts

TRUTH = np.array([[0.0, 0.0], [1.25, -2.0], [-3.0, 0.5], [4.0, 4.0], [3.5, -1.0]])
SHAPE = (5, 100, 120)


def push(k, turn_deg=0.0, scale=1.0, offset=(0.0, 0.0)):
    """Matrix (2, 3), x first, that undoes the motion of slice k: from the slice onto the aligned canvas.

    The slice is turned and scaled about its centre as well.
    """
    c, s = scale * cos(radians(turn_deg)), scale * sin(radians(turn_deg))
    linear = np.array([[c, -s], [s, c]])
    centre = np.array([(SHAPE[2] - 1) / 2, (SHAPE[1] - 1) / 2])
    moved = centre - linear @ centre - linear @ TRUTH[k, ::-1] + offset
    return np.column_stack([linear, moved])


def stackreg(steps=True, anchor=1, kind="TRANSLATION", flag="0", turn_deg=0.0):
    """File of MultiStackReg for slices counted from 1: points of the source, then those of the target they meet."""
    lines = ["MultiStackReg Transformation File", "File Version 1.0", flag]
    n = len(TRUTH)
    for k in [*range(anchor - 1, 0, -1), *range(anchor + 1, n + 1)]:
        near = (k + 1 if k < anchor else k - 1) if steps else anchor
        dy, dx = TRUTH[k - 1] - TRUTH[near - 1]
        c, s = cos(radians(turn_deg)), sin(radians(turn_deg))
        target = np.array([[60.0, 50.0], [60.0, 25.0], [60.0, 75.0]])
        source = (target - (60, 50)) @ np.array([[c, s], [-s, c]]) + (60 + dx, 50 + dy)
        if kind == "TRANSLATION":
            source[1:] = target[1:] = 0
        text = [f"{x!r}\t{y!r}" for x, y in [*source.tolist(), *target.tolist()]]
        lines += [kind, f"Source img: {k} Target img: {anchor}", *text[:3], "", *text[3:], ""]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("anchor", [1, 3, 5])
@pytest.mark.parametrize("kind", ["TRANSLATION", "RIGID_BODY"])
def test_multistackreg(tmp_path, anchor, kind):
    path = tmp_path / "TransformationMatrices.txt"
    path.write_text(stackreg(anchor=anchor, kind=kind))
    drift = read_shifts(path, shape=SHAPE)
    np.testing.assert_allclose(drift.shifts_px, TRUTH, atol=1e-9)
    assert drift.method == "imported from MultiStackReg"
    assert drift.notes == ("The motion was taken from TransformationMatrices.txt, not measured.",)


def test_multistackreg_against_another_stack_is_not_chained(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text(stackreg(steps=False, flag="1"))
    np.testing.assert_allclose(read_shifts(path).shifts_px, TRUTH, atol=1e-9)


def test_multistackreg_file_of_ours_is_read_back(tmp_path):
    write_shifts(Drift(TRUTH), tmp_path / "m.txt", frame=SHAPE[1:])
    lines = (tmp_path / "m.txt").read_text().splitlines()
    assert lines[:5] == [
        "MultiStackReg Transformation File", "File Version 1.0", "0", "TRANSLATION", "Source img: 2 Target img: 1",
    ]  # fmt: skip
    assert [lines[5], lines[9]] == ["58.0\t51.25", "60.0\t50.0"]
    np.testing.assert_allclose(read_shifts(tmp_path / "m.txt").shifts_px, TRUTH, atol=1e-12)


def test_sift_log_holds_steps_of_the_opposite_sign(tmp_path):
    path = tmp_path / "Log.txt"
    lines = ["Processing SIFT ...", " took 31ms."]
    for k in range(1, len(TRUTH)):
        dy, dx = TRUTH[k - 1] - TRUTH[k]
        lines.append(f"Transformation Matrix: AffineTransform[[1.0, 0.0, {dx}], [0.0, 1.0, {dy}]]")
    path.write_text("\n".join([*lines, "Done."]))
    np.testing.assert_allclose(read_shifts(path, shape=SHAPE).shifts_px, TRUTH, atol=1e-9)
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(
        InputError, match=r"4 slices, the stack has 5 \(slices that SIFT could not align leave no line\)"
    ):
        read_shifts(path, shape=SHAPE)


MODELS = {
    "TranslationModel2D": lambda m: (m[0, 2], m[1, 2]),
    "RigidModel2D": lambda m: (np.arctan2(m[1, 0], m[0, 0]), m[0, 2], m[1, 2]),
    "SimilarityModel2D": lambda m: (m[0, 0], m[1, 0], m[0, 2], m[1, 2]),
    "AffineModel2D": lambda m: (m[0, 0], m[1, 0], m[0, 1], m[1, 1], m[0, 2], m[1, 2]),
}


def virtual_stack(folder, model, turn_deg=0.0):
    folder.mkdir()
    for k in range(len(TRUTH)):
        data = " ".join(repr(float(v)) for v in MODELS[model](push(k, turn_deg * (k == 3), offset=(7, 9))))
        text = f'<iict_transform class="mpicbg.trakem2.transform.{model}" data="{data}" />'
        (folder / f"slice_{k:03d}.xml").write_text(f"<iict_transform_list>\n\t{text}\n</iict_transform_list>\n")
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_register_virtual_stack_slices(tmp_path, model):
    drift = read_shifts(virtual_stack(tmp_path / "transforms", model), shape=SHAPE)
    np.testing.assert_allclose(drift.shifts_px, TRUTH, atol=1e-9)


def test_a_slight_turn_is_noted_a_large_one_refused(tmp_path):
    drift = read_shifts(virtual_stack(tmp_path / "slight", "RigidModel2D", turn_deg=0.2), shape=SHAPE)
    np.testing.assert_allclose(drift.shifts_px, TRUTH, atol=0.02)
    assert "by up to 0.27 px at the corners of slice 3" in drift.notes[0]
    with pytest.raises(InputError, match=r"slice 3 most \(-2°, scale 1, 2\.7 px at its corners\).*translations only"):
        read_shifts(virtual_stack(tmp_path / "large", "RigidModel2D", turn_deg=2.0), shape=SHAPE)


def test_a_turn_cannot_be_judged_without_the_size_of_a_slice(tmp_path):
    folder = virtual_stack(tmp_path / "slight", "RigidModel2D", turn_deg=0.2)
    with pytest.raises(InputError, match="only the size of a slice can judge"):
        read_shifts(folder)


def test_bending_models_are_refused(tmp_path):
    folder = virtual_stack(tmp_path / "t", "TranslationModel2D")
    text = '<iict_transform class="mpicbg.trakem2.transform.MovingLeastSquaresTransform" data="affine 2 1.0" />'
    (folder / "slice_002.xml").write_text(text)
    with pytest.raises(InputError, match=r"slice_002\.xml: a MovingLeastSquaresTransform bends the slice"):
        read_shifts(folder)
    (folder / "slice_002.xml").write_text(text.replace("MovingLeastSquaresTransform", "RigidModel2D"))
    with pytest.raises(InputError, match=r"'affine 2 1\.0' are not the numbers of a RigidModel2D"):
        read_shifts(folder)


def trakem2(path, images=1, extra=""):
    """A project whose layers are listed in another order than their z."""
    layers = []
    for k in [*range(2, len(TRUTH)), 0, 1]:
        m = push(k, offset=(400, 300)).T.ravel()
        numbers = ",".join(repr(float(v)) for v in m)
        patch = (
            f'<t2_patch oid="9" width="120.0" height="100.0" transform="matrix({numbers})" title="s">{extra}</t2_patch>'
        )
        layers.append(f'<t2_layer oid="{k}" thickness="2.0" z="{2.0 * k}">{patch * images}</t2_layer>')
    head = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE trakem2_anything [\n<!ELEMENT trakem2 (t2)>\n]>\n'
    layer_set = (
        '<t2_layer_set oid="3" transform="matrix(1.0,0.0,0.0,1.0,0.0,0.0)">' + "".join(layers) + "</t2_layer_set>"
    )
    path.write_text(f'{head}<trakem2><project title="é"/>{layer_set}</trakem2>', encoding="latin-1")
    return path


def test_trakem2(tmp_path):
    np.testing.assert_allclose(read_shifts(trakem2(tmp_path / "p.xml"), shape=SHAPE).shifts_px, TRUTH, atol=1e-9)
    with pytest.raises(InputError, match=r"z = 4\.0 holds 2 images"):
        read_shifts(trakem2(tmp_path / "mosaic.xml", images=2))
    with pytest.raises(InputError, match="a coordinate transform of its own"):
        read_shifts(trakem2(tmp_path / "bent.xml", extra="<ict_transform_list><iict_transform/></ict_transform_list>"))


def test_pystackreg_keeps_maps_that_skimage_pulls_with(tmp_path):
    matrices = np.tile(np.eye(3), (5, 1, 1))
    matrices[:, :2, 2] = TRUTH[:, ::-1]
    np.save(tmp_path / "tmats.npy", matrices)
    np.testing.assert_allclose(read_shifts(tmp_path / "tmats.npy", shape=SHAPE).shifts_px, TRUTH)


def test_simpleitk_with_slice_0_fixed_has_our_sign(lab_scene):
    sitk = pytest.importorskip("SimpleITK")
    fixed, moving = lab_scene
    found = sitk.ImageRegistrationMethod()
    found.SetMetricAsMeanSquares()
    found.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    found.SetInitialTransform(sitk.TranslationTransform(2))
    found.SetInterpolator(sitk.sitkLinear)
    x, y = found.Execute(sitk.GetImageFromArray(fixed), sitk.GetImageFromArray(moving)).GetParameters()
    assert (y, x) == pytest.approx((3, -2), abs=0.5)


@pytest.fixture
def lab_scene():
    """Two images; the content of the second appears 3 rows lower and 2 columns to the left."""
    from scipy.ndimage import gaussian_filter

    scene = gaussian_filter(np.random.default_rng(0).normal(size=(80, 80)), 4).astype(np.float32)
    return scene[10:70, 10:70], scene[7:67, 12:72]


@pytest.mark.parametrize(("name", "text"), [
    ("t.csv", "slice,dy,dx\n{0}"), ("t.tsv", "slice,dy,dx\n{0}"),
    ("t.dat", "slice,dy,dx\n{0}"), ("t.txt", "# dy dx\n{1}"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["cumulative", "steps", "steps without the first"])
def test_tables(tmp_path, name, text, kind):
    rows = TRUTH if kind == "cumulative" else np.diff(TRUTH, axis=0, prepend=0)
    first = kind == "steps without the first"
    numbered = "".join(f"{k},{dy!r},{dx!r}\n" for k, (dy, dx) in enumerate(rows.tolist()) if k >= first)
    bare = "".join(f"{dy!r} {dx!r}\n" for dy, dx in rows[int(first) :].tolist())
    path = tmp_path / name
    path.write_text(text.format(numbered, bare))
    drift = read_shifts(path, shape=SHAPE, shifts_are=kind.split()[0])
    np.testing.assert_allclose(drift.shifts_px, TRUTH, atol=1e-12)


def test_numpy_arrays(tmp_path):
    np.save(tmp_path / "s.npy", TRUTH)
    np.testing.assert_array_equal(read_shifts(tmp_path / "s.npy").shifts_px, TRUTH)


def test_the_folder_of_a_run_stands_for_its_drift(tmp_path):
    Drift(TRUTH, bad_slices=[2]).save(tmp_path / "drift.csv")
    assert read_shifts(tmp_path).bad_slices == (2,)


WRONG = {
    "none.csv": (None, "does not exist"),
    "short.csv": ("slice,dy,dx\n0,0,0\n3,1,1\n", "the table has 4 slices, the stack has 5"),
    "twice.csv": ("slice,dy,dx\n0,0,0\n2,1,1\n2,1,1\n", "slice 2 stands twice"),
    "words.csv": ("slice,dy,dx\n0,0,zero\n", "row 1 of column 'dx' of the drift table holds 'zero'"),
    "words.txt": ("0 0\n1 left\n", "line 2: '1 left' are not two numbers dy dx; shifts are read from a table"),
    "empty.txt": ("", "holds no finite shifts"),
    "other.xml": ("<alignment/>", "is no TrakEM2 project; shifts are read from"),
    "one.xml": ('<iict_transform class="x" data="1"/>', "give the folder that holds them all"),
    "broken.xml": ("<trakem2>", "cannot be read as XML"),
    "s.npy": ("no array", "is no array of numbers"),
    "m.txt": (stackreg().replace("60.0\t50.0", "60.0", 1), "block 1 is not a transform"),
    "m2.txt": (stackreg().replace("Source img: 3", "Source img: 2"), "slice 2 stands twice as the source"),
    "m4.txt": (stackreg().replace("Source img: 3", "Source img: 7"), "slice 3 has no transform"),
    "log.txt": ("Transformation Matrix: AffineTransform[[1.0, 0.0]]", "is not a matrix of two rows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_one_sentence(tmp_path, name):
    text, message = WRONG[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_shifts(tmp_path / name, shape=SHAPE)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_steps_with_a_gap_are_refused(tmp_path):
    (tmp_path / "s.csv").write_text("slice,dy,dx\n1,0,0\n3,1,1\n4,0,0\n")
    with pytest.raises(InputError, match="the step to slice 2 is not in the table"):
        read_shifts(tmp_path / "s.csv", shifts_are="steps")


def test_unknown_words_and_suffixes_are_refused(tmp_path):
    with pytest.raises(InputError, match="must be auto, steps or cumulative"):
        read_shifts(tmp_path, shifts_are="relative")
    with pytest.raises(InputError, match=r"\.csv, \.json or \.txt"):
        write_shifts(Drift(TRUTH), tmp_path / "s.xlsx")
    with pytest.raises(InputError, match=r"holds no \.xml transforms"):
        read_shifts(tmp_path)
