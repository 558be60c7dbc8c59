"""Where the files that travel with the package lie: in a wheel, an editable install or a bare checkout."""

from importlib.resources import files
from pathlib import Path


def resource_dir(name: str) -> Path:
    """Return the folder `name` ("kernels" or "pipelines") shipped with fibtomo.

    Raises
    ------
    FileNotFoundError
        The installation is incomplete.
    """
    package = Path(str(files("fibtomo")))
    inside, beside = package / name, package.parent / name
    if inside.is_dir():
        return inside
    if beside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return beside
    message = f"fibtomo's folder '{name}' is missing beside {package}: the installation is broken, reinstall fibtomo."
    raise FileNotFoundError(message)
