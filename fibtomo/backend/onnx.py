"""Networks in ONNX files: the one place that knows onnxruntime, which is imported only where a network is used."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import is_cupy
from fibtomo.errors import BackendUnavailableError, InputError

_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_CUDA = "CUDAExecutionProvider"
_QUIET = 4


@dataclass(frozen=True, eq=False)
class Network:
    """A network ready to run.

    Attributes
    ----------
    path
        Its file.
    shape
        Sizes of its input; ``None`` where any will do.
    dtype
        Floating-point type of its input.
    """

    path: Path
    shape: tuple[int | None, ...]
    dtype: str
    session: Any

    def __call__(self, tile: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for one input.

        Raises
        ------
        InputError
            The network refuses an input of this shape.
        MemoryError
            The device has no room for its layers.
        """
        name = self.session.get_inputs()[0].name
        with _explained(f"{self.path} refuses an input of {_sizes(tile.shape)}"):
            return np.asarray(self.session.run(None, {name: tile.astype(self.dtype, copy=False)})[0])


@dataclass(frozen=True)
class Trial:
    """What one run of a network shows: shape of its first output, and bytes that all its layers take together."""

    shape: tuple[int, ...]
    bytes: float


def load_network(path: str | Path, like: Any = None) -> Network:
    """Open a network for the place where the array `like` is; for the CPU where onnxruntime serves no card.

    On the CPU it computes in one thread, since several blocks run at a time.

    Raises
    ------
    BackendUnavailableError
        onnxruntime is not installed.
    InputError
        The file is no ONNX model with one floating-point input.
    """
    place, changed = _place(path)
    return _loaded(place, changed, _card_of(like))


def try_network(path: str | Path, shape: tuple[int, ...]) -> Trial:
    """Run a network once on zeros of `shape`, on the CPU.

    Raises
    ------
    BackendUnavailableError, InputError
        See `load_network` and `Network`.
    """
    place, changed = _place(path)
    return _tried(place, changed, shape)


def files_of(path: str | Path) -> tuple[str, ...]:
    """The file of a network, and the one beside it that exporters put large weights into."""
    weights = Path(f"{path}.data")
    return (str(path), *([str(weights)] if weights.expanduser().is_file() else []))


def _card_of(like: Any) -> int | None:
    if not is_cupy(like):
        return None
    import cupy

    return int(cupy.cuda.runtime.getDevice())


def _place(path: str | Path) -> tuple[Path, int]:
    place = Path(path).expanduser()
    if not place.is_file():
        raise InputError(f"there is no network {place}: give the path of an ONNX file")
    return place, place.stat().st_mtime_ns


@lru_cache(maxsize=4)
def _loaded(path: Path, _mtime_ns: int, card: int | None) -> Network:
    return _open(path, _options(), card)


@lru_cache(maxsize=32)
def _tried(path: Path, _mtime_ns: int, shape: tuple[int, ...]) -> Trial:
    with TemporaryDirectory() as folder:
        options = _options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "layers")
        network = _open(path, options, None)
        try:
            out = network(np.zeros(shape, network.dtype))
        finally:
            profile = network.session.end_profiling()
        layers = json.loads(Path(profile).read_text(encoding="utf-8"))
    made = sum(float(layer.get("args", {}).get("output_size", 0)) for layer in layers)
    weights = sum(Path(name).stat().st_size for name in files_of(path))
    return Trial(out.shape, made + 2.0 * weights + 2.0 * out.nbytes + 8.0 * np.prod(shape))


def _open(path: Path, options: Any, card: int | None) -> Network:
    runtime = _runtime()
    providers: list[Any] = ["CPUExecutionProvider"]
    if card is not None and _CUDA in runtime.get_available_providers():
        exact = {"device_id": card, "use_tf32": 0, "cudnn_conv_algo_search": "DEFAULT"}
        providers.insert(0, (_CUDA, exact))
    with _explained(f"{path} is not an ONNX model that onnxruntime {runtime.__version__} reads"):
        session = runtime.InferenceSession(str(path), options, providers=providers)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES:
        listed = ", ".join(f"{i.name}: {i.type}" for i in inputs) or "none"
        raise InputError(f"{path} must have one input of floating-point numbers; it has {listed}")
    shape = tuple(size if isinstance(size, int) else None for size in inputs[0].shape)
    return Network(path, shape, _TYPES[inputs[0].type], session)


def _options() -> Any:
    options = _runtime().SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _QUIET
    return options


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(
            f"networks need onnxruntime, which cannot be imported ({error}): pip install 'fibtomo[onnx]', or "
            f"onnxruntime-gpu for CUDA"
        ) from None
    return onnxruntime


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Let what onnxruntime raises, which is of classes of its own, be said in one sentence."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
    try:
        yield
    except kinds as error:
        if "allocate memory" in str(error):
            raise MemoryError(str(error)) from None
        reason = str(error).rpartition(" : ")[2].strip().splitlines()[0]
        raise InputError(f"{what} ({reason})") from None


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
