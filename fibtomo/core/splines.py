"""Natural cubic splines through evenly spaced nodes, as B-spline coefficients.

Twice continuously differentiable, linear in the nodes, exact for straight lines, and straight beyond both ends.
"""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def control_points(nodes: Float, axis: int) -> Float:
    """B-spline coefficients of the natural cubic spline through `nodes`, with one ghost at either end."""
    nodes = np.moveaxis(nodes, axis, 0)
    if len(nodes) == 1:
        nodes = np.concatenate([nodes, nodes])
    g = len(nodes)
    system = np.eye(g)
    inner = np.arange(1, g - 1)
    system[inner, inner - 1], system[inner, inner], system[inner, inner + 1] = 1 / 6, 4 / 6, 1 / 6
    control = np.linalg.solve(system, nodes.reshape(g, -1)).reshape(nodes.shape)
    ghosts = 2 * control[:1] - control[1:2], 2 * control[-1:] - control[-2:-1]
    return np.moveaxis(np.concatenate([ghosts[0], control, ghosts[1]]), 0, axis)


def basis(at: Float, count: int) -> tuple[NDArray[np.int64], Float]:
    """First of four coefficients out of `count`, and their weights (4, ...), at places in node steps."""
    cell = np.clip(np.floor(at), 0, count - 4)
    beyond = at - cell
    t = np.clip(beyond, 0, 1)
    beyond = beyond - t
    weight = np.stack([(1 - t) ** 3, (3 * t - 6) * t * t + 4, ((3 - 3 * t) * t + 3) * t + 1, t**3]) / 6
    return cell.astype(np.int64), weight + beyond * basis_slope(t)


def basis_slope(t: Float) -> Float:
    """Derivatives (4, ...) of the weights."""
    return np.stack([-((1 - t) ** 2), (3 * t - 4) * t, (2 - 3 * t) * t + 1, t * t]) / 2


def sampled(count: int, nodes_per_px: float) -> tuple[Float, Float]:
    """Matrices (samples, count) from coefficients to values and to slopes per pixel, four samples per node step."""
    at = np.linspace(0, count - 3, 4 * (count - 3) + 1)
    cell, weight = basis(at, count)
    values, slopes = np.zeros((2, len(at), count))
    rows = np.arange(len(at))
    slope = basis_slope(at - cell) * nodes_per_px
    for a in range(4):
        values[rows, cell + a], slopes[rows, cell + a] = weight[a], slope[a]
    return values, slopes
