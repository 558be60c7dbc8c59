"""Layer 4: configuration, planning, execution and outputs of a run."""
