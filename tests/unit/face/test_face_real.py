"""Real stacks: nothing of them is left out, and an added layer is."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces

h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def stacks(shared_data):
    worm = [np.asarray(Image.open(f)) for f in sorted((shared_data / "stacks/c_elegans_em_21slices").glob("*.tif"))]
    with h5py.File(shared_data / "stacks/gala_train-image.h5") as file:
        return {"worm": np.stack(worm), "neuropil": file["stack"][:]}


@pytest.mark.parametrize("name", ["worm", "neuropil"])
@pytest.mark.parametrize("rows", [slice(None), slice(10, 80), slice(30, None)])
@pytest.mark.parametrize("turned", [False, True])
def test_real_specimen_is_never_left_out(stacks, name, rows, turned):
    stack = stacks[name].transpose(0, 2, 1) if turned else stacks[name]
    stack = np.ascontiguousarray(stack[:, rows])
    for part in (stack, stack[:12], stack[:, ::-1]):
        assert find_face(measure_faces(part), part.shape[1:])["crop"] == 0


@pytest.mark.parametrize(("grey", "row", "slope"), [(245, 20, 0.03), (20, 40, -0.05)])
def test_layer_above_real_structure_is_left_out(stacks, grey, row, slope):
    stack = stacks["neuropil"].astype(float)
    n, height, width = stack.shape
    rng = np.random.default_rng(0)
    line = row + np.cumsum(rng.normal(0, 0.3, n))
    texture = gaussian_filter(rng.normal(size=stack.shape), (1, 1.5, 1.5))
    texture *= 6 / texture.std()
    y, x = np.arange(height)[:, None], np.arange(width) - (width - 1) / 2
    for k, image in enumerate(stack):
        above = 1 / (1 + np.exp((y - line[k] - slope * x) / 0.4))
        image += above * (grey + texture[k] + rng.normal(0, 6, image.shape) - image)
    found = find_face(measure_faces(stack.clip(0, 255).astype(np.uint8)), (height, width))
    away = found["surface_row_px"] - line
    assert found["crop"] == 1
    assert np.sqrt(np.mean(away**2)) < 0.3
    assert found["surface_slope"] == pytest.approx(slope, abs=0.005)
