"""Layer 1: the only place that names cupy. Dispatch by array kind, device detection, kernels, CPU threads."""
