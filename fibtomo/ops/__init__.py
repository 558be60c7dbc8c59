"""Layer 2: pure array functions, NumPy or CuPy in, the same kind out; no files, no dask, no parameter objects."""
