"""Kernel tests run without a card: compiled by NVRTC for real cards, executed by `cuda_on_host` on the CPU."""

import functools
import os
from collections.abc import Callable

import cuda_on_host
import pytest
from resources import nvrtc_of


def require(obstacle: str | None) -> None:
    """Skip for `obstacle` on a developer's machine; in CI the tools have to be there."""
    if obstacle and os.environ.get("CI"):
        pytest.fail(obstacle)
    if obstacle:
        pytest.skip(obstacle)


@pytest.fixture(scope="session")
def host_module() -> Callable[..., cuda_on_host.HostRawModule]:
    """Compile text for the CPU; each variant once."""
    require(cuda_on_host.missing())
    return functools.cache(cuda_on_host.HostRawModule)


@pytest.fixture(scope="session")
def harness() -> None:
    """Needed by all that executes kernels on the CPU."""
    require(cuda_on_host.missing())


@pytest.fixture(scope="session")
def nvrtc():
    """cupy's own binding of the compiler that makes kernels on a user's machine."""
    try:
        return nvrtc_of()
    except (ImportError, RuntimeError) as error:
        require(f"compiling kernels needs cupy and NVRTC ({error})")
