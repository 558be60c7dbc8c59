"""Voxels of one detector from each family of formats, a range of slices at a time."""

import logging

# What tifffile logs about damaged files is said in our own errors; without this it would also land on stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
