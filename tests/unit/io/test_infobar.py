"""Info bars are found to the row, and nothing is taken for one that is none."""

import numpy as np
import pytest

from fibtomo.io.infobar import info_bar_rows
from fibtomo.io.open import open_stack


def with_bar(seed, rows=48, paper=0, ink=255, text_seed=1):
    """Noise image (400, 500) with `rows` of text at the bottom; the right fifth of the text differs between seeds."""
    rng, letters = np.random.default_rng(seed), np.random.default_rng(text_seed)
    image = rng.integers(20, 235, (400, 500)).astype(np.uint8)
    bar = np.full((rows, 500), paper, np.uint8)
    bar[4:-4][letters.random((rows - 8, 500)) < 0.12] = ink
    bar[4:-4, 400:] = np.where(rng.random((rows - 8, 100)) < 0.12, ink, paper)
    image[-rows:] = bar
    return image


@pytest.mark.parametrize("rows", [14, 30, 48, 90])
@pytest.mark.parametrize(("paper", "ink"), [(0, 255), (255, 0), (3, 252)])
def test_bar_is_found_to_the_row(rows, paper, ink):
    assert info_bar_rows([with_bar(s, rows, paper, ink) for s in range(3)]) == rows


def test_bar_in_16_bit():
    assert info_bar_rows([with_bar(s).astype(np.uint16) * 257 for s in range(3)]) == 48


def test_different_text_in_every_slice_is_no_bar():
    assert info_bar_rows([with_bar(s, text_seed=s) for s in range(3)]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_bar_in_noise_masks_padding_or_shadow(seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (3, 300, 300)).astype(np.uint8)
    assert info_bar_rows(list(noise)) == 0
    assert info_bar_rows(list((noise > 128).astype(np.uint8) * 255)) == 0
    padded = noise.copy()
    padded[:, 250:] = 0
    assert info_bar_rows(list(padded)) == 0
    shadow = np.clip(rng.normal(110, 40, (3, 300, 300)) - np.linspace(0, 160, 300)[:, None], 0, 255).astype(np.uint8)
    assert info_bar_rows(list(shadow)) == 0
    shadow[:, 260:] = np.where(rng.random((3, 40, 300)) < 0.05, 255, 0)
    assert info_bar_rows(list(shadow)) == 0
    assert info_bar_rows(list(np.zeros((3, 300, 300), np.uint8))) == 0


def test_cut_by_open_stack(write_folder):
    images = np.stack([with_bar(s) for s in range(4)])
    folder = write_folder(images)
    stack = open_stack(folder)
    assert stack.shape == (4, 352, 500)
    np.testing.assert_array_equal(stack.read(0, 4), images[:, :352])
    assert any("info bar of 48 rows" in text for text in stack.warnings)
    assert open_stack(folder, crop_info_bar=False).shape == (4, 400, 500)
    assert open_stack(folder, crop_info_bar=60).shape == (4, 340, 500)
