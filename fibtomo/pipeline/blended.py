"""Two detectors of a stack as one channel: weights found on a few slices, the blend made while slices are read."""

import numpy as np

from fibtomo.errors import InputError
from fibtomo.io.combine import combined
from fibtomo.io.stack import Stack
from fibtomo.ops.blend import measure_blend


def blended(stack: Stack, second: str) -> Stack:
    """Return `stack` with its channel and the one named `second` blended for least noise; see `measure_blend`.

    Greys are matched and weights found on up to five slices; both stand in `Stack.metadata`.

    Raises
    ------
    InputError
        There is no such channel, or the two do not show the same contrast.

    Examples
    --------
    >>> from fibtomo.io.open import open_stack
    >>> rng = np.random.default_rng(0)
    >>> phase = (rng.random((6, 32, 32)) < 0.4).repeat(4, axis=1).repeat(4, axis=2)
    >>> both = np.stack([100 + 60 * phase, 90 - 30 * phase]) + rng.normal(0, 9, (2, *phase.shape))
    >>> stack = open_stack(both.astype(np.uint8), voxel_nm="unknown")
    >>> blended(stack, stack.channels[1]).channel_name
    'c0+c1'
    """
    other = stack.channel(stack.spelled(second))
    sound = sorted(set(range(len(stack))) - set(stack.bad_slices) - set(other.bad_slices)) or [0]
    chosen = sorted({sound[round(i * (len(sound) - 1) / 4)] for i in range(5)})
    slices = [np.concatenate([s.read(k, k + 1) for k in chosen]) for s in (stack, other)]
    how = measure_blend(*slices)
    pair = f"channels '{stack.channel_name}' and '{other.channel_name}'"
    if how.weights[1] == 0:
        raise InputError(
            f"{pair} do not show the same contrast (correlation of their signals {how.correlation:.2f}): choose one"
        )
    (a, b), noise = how.weights, how.noise
    said = (
        f"{a:.3f} × {stack.channel_name} + {b:.3f} × ({how.gain:.4g} × {other.channel_name} + {how.offset:.4g}); "
        f"noise {noise[0]:.3g} and {noise[1]:.3g}, blended {noise[2]:.3g} grey levels"
    )
    return combined(stack, other.channel_name, (a, b * how.gain), b * how.offset, said)
