"""Voxels of one detector from each family of formats, a range of slices at a time."""
