"""A virtual FIB-SEM: analytic specimens, imaged with every known artefact, and the truth behind each slice."""

from fibtomo.phantom.microscope import Acquisition, acquire
from fibtomo.phantom.artefacts import Artefacts
from fibtomo.phantom.specimens import Specimen, describe, make_specimen
from fibtomo.phantom.truth import Truth, load_truth

__all__ = [
    "Acquisition",
    "Artefacts",
    "Specimen",
    "Truth",
    "acquire",
    "describe",
    "load_truth",
    "make_specimen",
]
