"""Layer 1: reading and writing files; knows `core` only."""
