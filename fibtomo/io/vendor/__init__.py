"""Metadata of the microscope vendors."""
