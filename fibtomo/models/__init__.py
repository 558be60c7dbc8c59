"""Trained models that come with the package, each beside the script that made it."""
