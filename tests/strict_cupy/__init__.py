"""A stand-in for cupy where there is no card: NumPy inside, as strict as the real one outside, or stricter.

`installed` puts it in the place of ``cupy`` and ``cupyx``, so that code under test takes its CuPy path. Its arrays

- refuse every implicit conversion to NumPy and never mix with NumPy arrays, not even as an index;
- have the methods and take the arguments that the installed cupy has, and no others;
- know on which stream they were made, and refuse to be read on another without an event in between;
- must not be given back while another stream than theirs may still use their memory, which would be filled anew;
- are counted: bytes alive and at their peak, bytes moved to and fro; a limit makes allocation fail as on a full card.

``RawModule`` executes the CUDA source itself on the CPU (`cuda_on_host`). Nothing here says how fast a card is.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import cupy as _real
import cupyx as _real_x
import cupyx.scipy.fft
import cupyx.scipy.ndimage
import cupyx.scipy.special
import scipy.fft
import scipy.ndimage
import scipy.special

from strict_cupy._array import ndarray
from strict_cupy._card import Card, RaceError, card
from strict_cupy._cuda import cuda_module, empty_pinned, raw_module
from strict_cupy._functions import Namespace

__all__ = ["Card", "RaceError", "card", "installed", "ndarray"]


def _modules() -> dict[str, ModuleType]:
    import numpy as np

    top = Namespace("cupy", np, _real)
    cuda = cuda_module()
    top.provide(
        ndarray=ndarray,
        cuda=cuda,
        RawModule=raw_module,
        get_default_memory_pool=lambda: card().pool,
        get_default_pinned_memory_pool=lambda: card().pinned_pool,
        asnumpy=lambda a, **options: a.get(**options),
        linalg=Namespace("cupy.linalg", np.linalg, _real.linalg),
        fft=Namespace("cupy.fft", np.fft, _real.fft),
    )
    extra = Namespace("cupyx", None, _real_x)
    special = ModuleType("cupyx.scipy")
    special.__path__ = []
    extra.__path__ = []
    top.__path__ = []
    for name, host, real in (
        ("ndimage", scipy.ndimage, cupyx.scipy.ndimage),
        ("fft", scipy.fft, cupyx.scipy.fft),
        ("special", scipy.special, cupyx.scipy.special),
    ):
        setattr(special, name, Namespace(f"cupyx.scipy.{name}", host, real))
    extra.provide(scipy=special, empty_pinned=empty_pinned)
    found = {"cupy": top, "cupyx": extra, "cupyx.scipy": special, "cupy.cuda": cuda}
    found |= {f"cupyx.scipy.{n}": getattr(special, n) for n in ("ndimage", "fft", "special")}
    found |= {"cupy.linalg": top.linalg, "cupy.fft": top.fft}
    return found


@contextmanager
def installed(**options: object) -> Iterator[ModuleType]:
    """Put the stand-in in the place of cupy; yields the module ``cupy``.

    Parameters
    ----------
    **options
        As of `Card`: bytes of memory, number of devices, how kernels are executed.
    """
    from fibtomo.backend import device, kernels, lane

    names = [n for n in sys.modules if n.partition(".")[0] in {"cupy", "cupyx"}]
    kept = {name: sys.modules.pop(name) for name in names}
    caches = (device.gpu_status, kernels._compile, lane._lane)
    modules = _modules()
    sys.modules.update(modules)
    for cache in caches:
        cache.cache_clear()
    previous = card.insert(Card(**options))
    try:
        yield modules["cupy"]
        if card().races:
            raise RaceError(card().races[0])
    finally:
        card.insert(previous)
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
        for cache in caches:
            cache.cache_clear()
