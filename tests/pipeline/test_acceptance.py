"""The whole way on virtual acquisitions: the reconstruction against the specimen it was made from."""

import numpy as np
import pytest

import fibtomo
from fibtomo.phantom import load_truth


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float(np.count_nonzero(a & b)) / float(np.count_nonzero(a) + np.count_nonzero(b))
