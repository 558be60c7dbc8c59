"""Layer 0: volumes, values with origins, geometry, parameters and the stage registry (numpy and pydantic only)."""
