"""The virtual FIB-SEM: specimens, acquisition artefacts and their ground truth."""
