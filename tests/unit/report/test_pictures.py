"""Contrast, overlays, scale bars and panels."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError, OutputError
from fibtomo.report import pictures


def test_contrast_ignores_outliers_and_voids():
    image = np.linspace(100, 200, 10_000).reshape(100, 100)
    image[0, 0], image[0, 1] = 1e6, np.nan
    low, high = pictures.grey_limits(image)
    assert 99 < low < 101
    assert 199 < high < 201
    grey = pictures.stretch(image)
    assert grey.dtype == np.uint8
    assert grey[0, 0, 0] == 255
    assert grey[0, 1, 0] == 0


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_flat_image_has_a_picture(value):
    assert pictures.stretch(np.full((4, 4), value)).shape == (4, 4, 3)


def test_phase_colours_differ_for_dichromats():
    """Distances in a simulated deuteranope and protanope view (Viénot 1999), linear RGB."""
    rgb = np.array([pictures.phase_rgb(k) for k in range(3)]) / 255.0
    linear = rgb**2.2
    for rows in ([0.29, 0.71, 0.0], [0.11, 0.89, 0.0]):
        seen = np.stack([linear @ rows, linear @ rows, linear[:, 2]], axis=1)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(3, 1)]
        assert distance.min() > 0.1


def test_overlay_leaves_unseen_places_alone():
    grey = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, OUTSIDE]] * 2)
    picture = pictures.overlay(grey, labels, opacity=1.0)
    assert picture[0, 0].tolist() == list(pictures.phase_rgb(0))
    assert picture[0, 1].tolist() == list(pictures.phase_rgb(1))
    assert picture[0, 2].tolist() == [100, 100, 100]
    with pytest.raises(InputError, match="laid over"):
        pictures.overlay(grey, labels[:, :2])


@pytest.mark.parametrize(("per_px", "nm"), [(4.0, 500.0), (0.37, 50.0), (33.0, 5000.0)])
def test_scale_bar_has_the_length_it_states(per_px, nm):
    picture = pictures.scale_bar(np.zeros((300, 700, 3), np.uint8), per_px)
    longest = max(row.sum() for row in (picture == 255).all(axis=2))
    assert longest == pytest.approx(nm / per_px, abs=1)


def test_scale_bar_leaves_a_tiny_picture_alone():
    tiny = np.zeros((10, 20, 3), np.uint8)
    assert pictures.scale_bar(tiny, 5.0) is tiny


def test_true_scale_keeps_proportions():
    picture = pictures.true_scale(np.zeros((20, 50, 3), np.uint8), (30.0, 10.0), 5.0)
    assert picture.shape == (120, 100, 3)


def test_labels_are_not_blended_by_resizing():
    labels = np.array([[0, 2], [2, 0]], np.uint8)
    assert set(np.unique(pictures.resize(labels, 50, 70, smooth=False))) == {0, 2}


def test_difference_is_signed_and_symmetric():
    picture = pictures.difference(np.array([[-2.0, 0.0, 2.0, np.nan]]), 2.0).astype(int)
    below, zero, above, void = picture[0]
    assert below[2] > below[0]
    assert above[0] > above[2]
    assert zero.tolist() == void.tolist() == [247, 247, 247]


def test_before_after_shares_contrast_and_shows_what_was_removed():
    before = np.tile(np.linspace(0, 200, 100), (60, 1))
    after = before / 2
    picture = pictures.before_after(before, after, max_px=316)
    assert picture.shape[1] == 316
    first, second = picture[-1, 99], picture[-1, 99 + 108]
    assert first[0] > 250
    assert abs(int(second[0]) - 128) < 6
    assert picture[-1, 216:].reshape(-1, 3).min() > 125  # nothing was made brighter: from middle grey on
    assert picture[-1, 218, 0] < 140
    assert picture[-1, -1].tolist() == [255] * 3


@pytest.mark.parametrize(
    ("step", "title"), [(12.0, "gone, ±12 grey"), (0.0, "gone: nothing"), (0.0125, "gone, ±0.0125 grey")]
)
def test_what_was_removed_states_its_scale(step, title, monkeypatch):
    captions = []
    monkeypatch.setattr(pictures, "write", lambda draw, place, text, *rest: captions.append(text))
    before = np.random.default_rng(0).normal(100, 9, (40, 60))
    removed = step * np.sign(np.arange(60) - 29.5) * np.ones((40, 1))
    picture = pictures.before_after(before, before - removed, removed, titles=("before", "after", "gone"), max_px=196)
    assert captions[2] == title
    assert (picture[-1, 137, 0], picture[-1, -1, 0]) == ((0, 255) if step else (128, 128))


def test_before_after_takes_pictures_and_no_third_panel_then():
    grey = np.zeros((30, 30), np.uint8)
    coloured = pictures.colour_phases(np.ones((30, 30), np.uint8))
    picture = pictures.before_after(grey, coloured, titles=("grey", "phases"), max_px=68)
    assert picture.shape[1] == 68
    assert picture[-1, -1].tolist() == list(pictures.phase_rgb(1))


def test_before_after_is_true_to_scale():
    image = np.random.default_rng(0).random((50, 100))
    picture = pictures.before_after(image, image, voxel_nm=(20.0, 10.0), max_px=600)
    width = (600 - 16) / 3
    assert picture.shape[0] - 26 == pytest.approx(width, abs=2)


def test_before_after_refuses_a_volume():
    with pytest.raises(InputError, match="neither"):
        pictures.before_after(np.zeros((4, 5, 6)), np.zeros((4, 5, 6)))


@pytest.mark.parametrize(("channels", "kind"), [(3, "jpeg"), (4, "png")])
def test_data_uri_decodes_to_the_picture(channels, kind):
    ramp = np.repeat(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))[..., None], channels, axis=2)
    head, body = pictures.data_uri(ramp).split(",")
    assert head == f"data:image/{kind};base64"
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    seen = image if image.ndim == 2 else image[..., 0]
    assert np.abs(seen.astype(int) - ramp[..., 0]).max() <= 6


def test_save_png(tmp_path):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    path = pictures.save_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(OutputError, match="cannot be written"):
        pictures.save_png(tmp_path / "gone" / "a.png", picture)
