"""The stripe component that leaves least total variation, from a spectrum of few rows."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, like, namespace
from fibtomo.backend.kernels import twin
from fibtomo.ops.curtain_parts import Float, Spans, cosines, flatness, inside_weight, noise_level

LAPLACE_SCALE = 0.886
"""Scale b of the density exp(-|∇|/b) / (2πb²) that fits gradients of white noise, in its standard deviations."""


class SplitStripes:
    """Stripes s that minimise Σ w |∇(u0 - s)| / b + ½ Σ ŝ² / P, found step by step.

    s is a sum of cosines of few periods along the stripes, with mirrored ends: nothing rings at the rim, and one cosine
    transform across the stripes and two small matrix products along them are all the transforms an iteration takes.
    The method of multipliers splits off the gradient; what is left is diagonal in the cosines.

    Parameters
    ----------
    upright
        (y, x) float32 grey values with upright stripes, NumPy or CuPy; planes stay where they are.
    spans
        (y, 2) columns of each row that count; all if None.
    rows
        Number of cosines along the stripes.

    Attributes
    ----------
    stripes
        (y, x) float32, grey units.
    spectrum
        (rows, x) orthonormal cosine coefficients ŝ of the stripes.
    noise
        Standard deviation of the noise in grey units; b is `LAPLACE_SCALE` times that.
    """

    def __init__(self, upright: Float, spans: Spans | None, rows: int) -> None:
        (ny, nx), xp = upright.shape, namespace(upright)
        self.grey = xp.ascontiguousarray(upright - xp.median(upright), np.float32)
        self.noise = noise_level(self.grey, spans)
        self.stripes, self.spectrum = xp.zeros((ny, nx), np.float32), xp.zeros((rows, nx), np.float32)
        self._inside = inside_weight(self.grey, spans)
        self._dual = xp.zeros((2, ny, nx), np.float32)
        self._basis = like(upright, cosines(ny, rows))
        down, across = (2 - 2 * np.cos(np.pi * np.arange(k) / n) for k, n in ((rows, ny), (nx, nx)))
        self._laplace = (down[:, None] + across).astype(np.float32)

    def flatness(self) -> Float:
        """Weight (y, x) that leaves the edges of structure out, by the stripes known so far."""
        return flatness(self.grey - self.stripes, self._inside)

    def step(self, power: NDArray[np.float64], iterations: int, weight: Float | None = None) -> None:
        """Iterate.

        Parameters
        ----------
        power
            (rows, x) expected power P of the coefficients in grey units squared, NumPy: 0 for none, infinite for free.
        iterations
            How many; twenty come within a hundredth of the stripes.
        weight
            (y, x) weight w of the gradients; 1 inside the spans if None.
        """
        loops, transforms = twin(__package__, "curtain", like=self.grey), fft(self.grey)
        limit = self.noise * (self._inside if weight is None else weight)
        with np.errstate(divide="ignore"):
            stiff = self._laplace + LAPLACE_SCALE * self.noise**2 / power + np.finfo(np.float32).eps
        inverse, laplace = like(self.grey, (1 / stiff).astype(np.float32)), like(self.grey, self._laplace)
        pull = namespace(self.grey).empty_like(self.grey)
        for _ in range(iterations):
            self._dual = loops.clip_gradients(self.grey, self.stripes, self._dual, limit, pull)
            found = transforms.dct(loops.into_basis(self._basis, pull), axis=1, norm="ortho")
            self.spectrum = laplace * self.spectrum + found
            self.spectrum *= inverse
            loops.from_basis(self._basis, transforms.idct(self.spectrum, axis=1, norm="ortho"), self.stripes)
