"""Eigenvalues of rows of symmetric matrices on the CPU, in closed form without branches, for vector units.

Entries stand in rows of `WIDTH` behind each other, at a fixed distance, so that the compiler sees that they do not
overlap: xx, xy, yy, xz, yz, zz at rows 2, 4, 5, 7, 8, 9. Eigenvalues replace rows 2, 4 (and 5), largest first.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
WIDTH = 512
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")

ZERO, HALF, ONE, THIRD = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1 / 3)
SQRT3, HALF_PI, PI = np.float32(np.sqrt(3)), np.float32(np.pi / 2), np.float32(np.pi)
TINY = np.float32(1e-30)
# Chebyshev interpolation of arctan(t) / t, of cos(a) and of sin(a) / a in squares; the last two up to 60°.
T0, T1, T2 = np.float32(1.0), np.float32(-0.333330363), np.float32(0.199918717)
T3, T4, T5 = np.float32(-0.141977981), np.float32(0.106183708), np.float32(-0.0745685473)
T6, T7, T8 = np.float32(0.0421376228), np.float32(-0.015731249), np.float32(0.00276628346)
C1, C2 = np.float32(-0.49999997), np.float32(0.0416663885)
C3, C4 = np.float32(-0.00138817658), np.float32(2.40561312e-05)
S1, S2 = np.float32(-0.166666657), np.float32(0.00833330769)
S3, S4 = np.float32(-0.00019834777), np.float32(2.68782242e-06)


@compiled
def eigenvalues_2(work: Array, n: int) -> None:
    """Two by two."""
    for x in range(n):
        xx, xy, yy = work[x + 2 * WIDTH], work[x + 4 * WIDTH], work[x + 5 * WIDTH]
        mean, lean = HALF * (xx + yy), HALF * (xx - yy)
        apart = np.sqrt(lean * lean + xy * xy)
        work[x + 2 * WIDTH] = mean + apart
        work[x + 4 * WIDTH] = mean - apart


@compiled
def eigenvalues_3(work: Array, n: int) -> None:
    """Three by three: the angle of the trigonometric solution comes from its sine as well as its cosine.

    With U the traceless part at norm 1 and T that of U², the angle is atan2(|U ∧ T|, 3 det U) / 3. The sine is a sum of
    squares (the discriminant of a symmetric matrix is one) and hence exact also where two eigenvalues are nearly
    equal, where the arc cosine loses half of the digits.

    References
    ----------
    B. N. Parlett, Linear Algebra Appl. 355 (2002) 85, doi:10.1016/S0024-3795(02)00335-X (discriminant as sum of
    squares); O. K. Smith, Commun. ACM 4 (1961) 168, doi:10.1145/355578.366316 (trigonometric solution).
    """
    for x in range(n):
        xx, xy, yy = work[x + 2 * WIDTH], work[x + 4 * WIDTH], work[x + 5 * WIDTH]
        xz, yz, zz = work[x + 7 * WIDTH], work[x + 8 * WIDTH], work[x + 9 * WIDTH]
        mean = (xx + yy + zz) * THIRD
        xx, yy, zz = xx - mean, yy - mean, zz - mean
        square = xx * xx + yy * yy + zz * zz + np.float32(2) * (xy * xy + xz * xz + yz * yz)
        norm = np.sqrt(square)
        inverse = ONE / (norm + TINY)
        xx, yy, zz, xy, xz, yz = xx * inverse, yy * inverse, zz * inverse, xy * inverse, xz * inverse, yz * inverse
        lean, tall = HALF * (xx - yy), zz * (HALF * SQRT3)
        t_xy, t_xz, t_yz = xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - yz * xx
        t_lean = HALF * (xz * xz - yz * yz) - lean * zz
        t_tall = (zz * zz + xz * xz + yz * yz - THIRD) * (HALF * SQRT3)
        a, b, c, d = xy * t_xz - xz * t_xy, xy * t_yz - yz * t_xy, xy * t_lean - lean * t_xy, xy * t_tall - tall * t_xy
        e, f, g = xz * t_yz - yz * t_xz, xz * t_lean - lean * t_xz, xz * t_tall - tall * t_xz
        h, i, j = yz * t_lean - lean * t_yz, yz * t_tall - tall * t_yz, lean * t_tall - tall * t_lean
        wedge = a * a + b * b + c * c + d * d + e * e + f * f + g * g + h * h + i * i + j * j
        sine = np.float32(2) * np.sqrt(wedge)
        cosine = np.float32(3) * (xx * (yy * zz - yz * yz) + xy * (xz * yz - xy * zz) + xz * (xy * yz - yy * xz))
        size = abs(cosine)
        low, high = min(sine, size), max(sine, size)
        t = low / (high + TINY)
        u = t * t
        angle = t * (T0 + u * (T1 + u * (T2 + u * (T3 + u * (T4 + u * (T5 + u * (T6 + u * (T7 + u * T8))))))))
        angle = HALF_PI - angle if sine > size else angle
        angle = PI - angle if cosine < ZERO else angle
        angle *= THIRD
        u = angle * angle
        cosine = ONE + u * (C1 + u * (C2 + u * (C3 + u * C4)))
        sine = angle * (ONE + u * (S1 + u * (S2 + u * (S3 + u * S4))))
        reach = norm * np.float32(np.sqrt(2 / 3))
        work[x + 2 * WIDTH] = mean + reach * cosine
        work[x + 4 * WIDTH] = mean + reach * HALF * (SQRT3 * sine - cosine)
        work[x + 5 * WIDTH] = mean - reach * HALF * (SQRT3 * sine + cosine)
