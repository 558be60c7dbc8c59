"""fibtomo: from a folder of raw FIB-SEM slices to a true-to-scale, segmented and measured 3D volume."""

__version__ = "0.1.0"
