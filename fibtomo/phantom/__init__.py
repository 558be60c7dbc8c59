"""A virtual FIB-SEM: analytic specimens, imaged with every known artefact, and the truth behind each slice."""

from fibtomo.phantom.artefacts import Artefacts
from fibtomo.phantom.catalogue import describe, make_specimen
from fibtomo.phantom.microscope import Acquisition, acquire
from fibtomo.phantom.samples import acquire_sample, samples, write_sample
from fibtomo.phantom.specimens import Specimen
from fibtomo.phantom.truth import Truth, load_truth
from fibtomo.phantom.write import write_slices

__all__ = [
    "Acquisition",
    "Artefacts",
    "Specimen",
    "Truth",
    "acquire",
    "acquire_sample",
    "describe",
    "load_truth",
    "make_specimen",
    "samples",
    "write_sample",
    "write_slices",
]
