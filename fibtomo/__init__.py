"""fibtomo: from a folder of raw FIB-SEM slices to a true-to-scale, segmented and measured 3D volume.

Public names are loaded on first use, so that ``import fibtomo`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "open_stack": "fibtomo.io.open",
    "Stack": "fibtomo.io.stack",
    "Drift": "fibtomo.core.drift",
    "estimate_drift": "fibtomo.ops.drift",
    "remove_curtaining": "fibtomo.ops.curtaining",
    "correct_intensity": "fibtomo.ops.intensity",
    "denoise": "fibtomo.ops.denoise",
    "Geometry": "fibtomo.core.geometry",
    "resample": "fibtomo.ops.resample",
    "segment": "fibtomo.ops.segmentation",
    "PixelForest": "fibtomo.ops.pixel_forest",
    "label_objects": "fibtomo.ops.labels",
    "Measurements": "fibtomo.core.measurements",
    "measure": "fibtomo.ops.morphometry",
    "Mesh": "fibtomo.core.mesh",
    "extract_surface": "fibtomo.ops.surface",
    "Run": "fibtomo.api",
    "run": "fibtomo.api",
    "plan": "fibtomo.api",
    "look_at": "fibtomo.api",
    "stages": "fibtomo.api",
    "load_pipeline": "fibtomo.pipeline.config",
    "pipelines": "fibtomo.pipeline.config",
    "FibtomoError": "fibtomo.errors",
}
_MODULES = ("errors", "phantom")

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return import_module(f"fibtomo.{name}")
    raise AttributeError(f"module 'fibtomo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from fibtomo import errors as errors
    from fibtomo import phantom as phantom
    from fibtomo.api import Run as Run
    from fibtomo.api import look_at as look_at
    from fibtomo.api import plan as plan
    from fibtomo.api import run as run
    from fibtomo.api import stages as stages
    from fibtomo.core.drift import Drift as Drift
    from fibtomo.core.geometry import Geometry as Geometry
    from fibtomo.core.measurements import Measurements as Measurements
    from fibtomo.core.mesh import Mesh as Mesh
    from fibtomo.errors import FibtomoError as FibtomoError
    from fibtomo.io.open import open_stack as open_stack
    from fibtomo.io.stack import Stack as Stack
    from fibtomo.ops.curtaining import remove_curtaining as remove_curtaining
    from fibtomo.ops.denoise import denoise as denoise
    from fibtomo.ops.drift import estimate_drift as estimate_drift
    from fibtomo.ops.intensity import correct_intensity as correct_intensity
    from fibtomo.ops.labels import label_objects as label_objects
    from fibtomo.ops.morphometry import measure as measure
    from fibtomo.ops.pixel_forest import PixelForest as PixelForest
    from fibtomo.ops.resample import resample as resample
    from fibtomo.ops.segmentation import segment as segment
    from fibtomo.ops.surface import extract_surface as extract_surface
    from fibtomo.pipeline.config import load_pipeline as load_pipeline
    from fibtomo.pipeline.config import pipelines as pipelines
