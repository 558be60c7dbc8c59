"""Memory and cores the operating system really grants this process, limits of containers included."""

import ctypes
import os
import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def host_memory() -> tuple[int, int]:
    """(available, total) bytes of main memory, the tighter of machine and container."""
    available, total = _machine_memory()
    limit, used = _container_memory()
    if limit is not None and limit < total:
        total = limit
        available = min(available, max(0, limit - used))
    return available, total


def container_cores() -> float | None:
    """Cores that the container's CPU quota allows, or ``None`` without a quota."""
    words = _read(_CGROUP / "cpu.max").split()
    if not words:
        words = [_read(_CGROUP / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return int(words[0]) / int(words[1])
    return None


def _container_memory() -> tuple[int | None, int]:
    for limit_file, used_file, stat_file, cache_key in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        limit = _read(_CGROUP / limit_file).strip()
        if limit.isdigit():
            used = int(_read(_CGROUP / used_file).strip() or 0)
            reclaimable = _fields(_read(_CGROUP / stat_file)).get(cache_key, 0)
            return int(limit), max(0, used - reclaimable)
    return None, 0


def _machine_memory() -> tuple[int, int]:
    fields = _fields(_read(_MEMINFO))
    if "MemAvailable" in fields and "MemTotal" in fields:
        return fields["MemAvailable"] * 1024, fields["MemTotal"] * 1024
    if sys.platform == "win32":
        return _windows_memory()
    names = os.sysconf_names
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_AVPHYS_PAGES" in names else total // 2
    return free, total


class _MemoryStatusEx(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load_percent", ctypes.c_uint32),
        *(
            (name, ctypes.c_uint64)
            for name in (
                "total_physical",
                "available_physical",
                "total_page_file",
                "available_page_file",
                "total_virtual",
                "available_virtual",
                "available_extended_virtual",
            )
        ),
    )


def _windows_memory() -> tuple[int, int]:
    status = _MemoryStatusEx(length=ctypes.sizeof(_MemoryStatusEx))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    return status.available_physical, status.total_physical


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _fields(text: str) -> dict[str, int]:
    """``name: number`` or ``name number`` lines as a dictionary."""
    words = (line.replace(":", " ").split() for line in text.splitlines())
    return {w[0]: int(w[1]) for w in words if len(w) >= 2 and w[1].isdigit()}
