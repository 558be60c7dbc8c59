import struct
from pathlib import Path

import numpy as np
import pytest

from fibtomo.errors import StackError
from fibtomo.io.vendor import read_vendor
from fibtomo.io.vendor.janelia import read_dat, read_dat_header

# Where the format keeps the same fact: (offset, format) up to version 2, from version 3.
PIXEL, WD, EHT, TILT = (
    {True: (416, "d"), False: (464, "f")},
    {True: (424, "d"), False: (468, "f")},
    {True: (432, "d"), False: (472, "f")},
    {True: (536, "d"), False: (546, "f")},
)


def header(version: int, channels: int, rows: int, cols: int, *, eight_bit: bool) -> bytearray:
    data = bytearray(1024)

    def put(at: int, code: str, *values: object) -> None:
        struct.pack_into(">" + code, data, at, *values)

    put(0, "IHH10s", 0xD3EDF5F2, version, 1, b"15/11/2024")
    put(24, "d", 4e-8)
    put(32, "BB", channels, eight_bit)
    put(100, "II", cols, rows)
    put(151, "BB", 1, channels > 1)
    put(380, "10s18s", b"InLens", b"ESB @ 400 V")
    for place, value in ((PIXEL, 4.0), (WD, 5.0), (EHT, 1.25), (TILT, -2.0)):
        at, code = place[version < 3]
        put(at, code, value)
    put(180, "200s", b"resin block")
    if version >= 5:
        put(656, "I", 62501)
        put(664, "f", 250.0)
        put(684, "H", 2)
        put(800, "30s", b"Jeiss1/Gemini500")
    if version >= 6:
        put(878, "I", 31)
    if version >= 9:
        put(155, "25s", b"Sn-on-C")
    return data


@pytest.mark.parametrize("version", range(1, 10))
@pytest.mark.parametrize("eight_bit", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_version(tmp_path: Path, version: int, eight_bit: bool, channels: int) -> None:
    rng = np.random.default_rng(version)
    dtype = "uint8" if eight_bit else "int16"
    limits = np.iinfo(dtype)
    truth = rng.integers(limits.min, limits.max, (channels, 3, 5), dtype=dtype, endpoint=True)
    path = tmp_path / "scan.dat"
    stored = np.moveaxis(truth, 0, -1).astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    path.write_bytes(bytes(header(version, channels, 3, 5, eight_bit=eight_bit)) + stored + b"footer")

    pixels, info = read_dat(path)
    assert pixels.dtype == np.dtype(dtype)
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, truth)
    assert info.calibration.pixel_nm.value == (4.0, 4.0)
    assert info.metadata["working_distance_mm"].value == 5.0
    assert info.metadata["high_voltage_kv"].value == 1.25
    assert info.metadata["stage_tilt_deg"].value == -2.0
    assert info.metadata["dwell_us"].value == 0.04
    assert info.metadata["detectors"].value == ("InLens", "ESB @ 400 V")[:channels]
    assert info.detector == "InLens"
    assert info.image_rows == 3
    assert ("instrument" in info.metadata) == (version >= 5)
    assert ("slice_number" in info.metadata) == (version >= 6)
    assert ("sample" in info.metadata) == (version >= 9)
    assert info.calibration.slice_nm.value == (8.0 if version >= 5 else None)
    assert not info.calibration.column_angle_deg
    assert "--column-angle-deg" in info.warnings[0]
    assert read_vendor(path) == info


def test_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "scan.dat"
    path.write_bytes(bytes(header(8, 2, 3, 5, eight_bit=False)))
    found = read_dat_header(path)
    assert (found.channels, found.rows, found.cols, found.dtype, found.version) == (2, 3, 5, "int16", 8)
    assert found.data_bytes == 60
    with pytest.raises(StackError, match="0 of 60 bytes"):
        read_dat(path)


def test_detector_names_that_do_not_fit(tmp_path: Path) -> None:
    data = header(8, 2, 3, 5, eight_bit=False)
    data[152] = 0
    (tmp_path / "scan.dat").write_bytes(data)
    assert read_dat_header(tmp_path / "scan.dat").detectors == ("channel 0", "channel 1")


@pytest.mark.parametrize(
    ("cut", "patch", "match"),
    [
        (1000, {}, "1000 of 1024"),
        (1024, {4: b"\0\x0c"}, "version 12"),
        (1024, {32: b"\0"}, "damaged"),
        (1024, {100: bytes(4)}, "damaged"),
    ],
)
def test_damaged_headers(tmp_path: Path, cut: int, patch: dict[int, bytes], match: str) -> None:
    data = header(8, 2, 3, 5, eight_bit=False)
    for at, value in patch.items():
        data[at : at + len(value)] = value
    path = tmp_path / "scan.dat"
    path.write_bytes(bytes(data[:cut]))
    with pytest.raises(StackError, match=match):
        read_dat_header(path)
    assert match in read_vendor(path).warnings[0]


def test_other_dat_files(tmp_path: Path) -> None:
    path = tmp_path / "table.dat"
    path.write_text("1 2 3\n")
    assert read_vendor(path) is None
    with pytest.raises(StackError, match="no Janelia"):
        read_dat_header(path)
