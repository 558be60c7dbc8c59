"""What loops of slices say of the uncertainty of pairs that lead over more than one slice.

Fine structure is alike over one slice, coarse structure over several, and on real specimens they need not move alike:
then two steps at once go another way than one by one, and always so. The coherence of a pair does not know of it. The
pairs over the longest distance get the blame, as they see least of the structure.
"""

from dataclasses import replace

import numpy as np

from fibtomo.ops.trajectory import Pairs

_LEAST_LOOPS = 8
_CLEAR = 9.0  # variances of the median that its square must exceed


def widened_by_loops(pairs: Pairs) -> Pairs:
    """Pairs whose standard deviations hold what the loops miss always the same way.

    Parameters
    ----------
    pairs
        All pairs; those of weight 0 are not looked at.

    Returns
    -------
    Pairs
        The same where loops miss now this way, now that way, or are too few to tell.

    Examples
    --------
    >>> first, second = np.r_[:19, :18], np.r_[1:20, 2:20]
    >>> shift = np.column_stack([second - first, np.where(second - first == 2, 0.3, 0.0)])
    >>> pairs = widened_by_loops(Pairs(first, second, shift, np.full((37, 2), 0.02), np.ones(37)))
    >>> pairs.sigma_px[[0, 36]].round(2).tolist()
    [[0.02, 0.02], [0.02, 0.3]]
    """
    gap = pairs.second - pairs.first
    ends = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    at = {pair: i for i, pair in enumerate(ends) if pairs.weight[i] > 0}
    variance = pairs.sigma_px**2
    for distance in np.unique(gap[gap > 1]).tolist():
        loops = [
            (i, at[a, a + 1], at[a + 1, b])
            for (a, b), i in at.items()
            if b - a == distance and (a, a + 1) in at and (a + 1, b) in at
        ]
        if len(loops) < _LEAST_LOOPS:
            continue
        whole, step, rest = np.array(loops).T
        missed = pairs.shift_px[whole] - pairs.shift_px[step] - pairs.shift_px[rest]
        always = np.median(missed, axis=0)
        scatter = 1.4826 * np.median(np.abs(missed - always), axis=0)
        clear = always**2 > _CLEAR * np.pi / 2 * scatter**2 / len(loops)
        variance[gap == distance] += np.where(clear, always**2, 0.0)
    return replace(pairs, sigma_px=np.sqrt(variance))
