"""Layer 6: the napari plugin; the only place that names napari and Qt."""
