"""Thermo Fisher / FEI: INI text in TIFF tag 34682 (or appended to the file) and XML in tag 34683."""

import re

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import VendorInfo, sized
from fibtomo.io.vendor.keys import Field, Keys, parse_ini, pixel_pair
from fibtomo.io.vendor.markup import flatten, parse_xml
from fibtomo.io.vendor.tifftags import TiffTags, file_tail
from fibtomo.io.vendor.tilt import default_column_angle, judge_tilt_correction, no_ion_column, sample_tilt
from fibtomo.io.vendor.units import decode

VENDOR = "Thermo/FEI"
COLUMN_ANGLE_DEG = 52.0
_DUAL_BEAM = re.compile(r"dual ?beam|helios|scios|strata|nanolab|3d|versa|aquilos|hydra|arctis|expida", re.IGNORECASE)

_XML_FIELDS = (
    Field("high_voltage_kv", ("Optics/AccelerationVoltage",), "V"),
    Field("beam_current_na", ("Optics/BeamCurrent",), "A"),
    Field("working_distance_mm", ("Optics/WorkingDistance",), "m"),
    Field("tilt_correction_angle_deg", ("Optics/SamplePreTiltAngle",), "rad"),
    Field("stage_tilt_deg", ("StageSettings/StagePosition/Tilt/Alpha",), "rad"),
    Field("stage_rotation_deg", ("StageSettings/StagePosition/Rotation",), "rad"),
    Field("beam_shift_x_um", ("Optics/BeamShift/X",), "m"),
    Field("beam_shift_y_um", ("Optics/BeamShift/Y",), "m"),
    Field("scan_rotation_deg", ("ScanSettings/ScanRotation",), "rad"),
    Field("dwell_us", ("ScanSettings/DwellTime",), "s"),
    Field("frame_time_s", ("ScanSettings/FrameTime",), "s"),
    Field("detector", ("Detectors/ScanningDetector/DetectorName",)),
    Field("beam", ("Acquisition/BeamType",)),
    Field("instrument", ("Instrument/InstrumentClass",)),
    Field("software", ("Instrument/ControlSoftwareVersion",)),
    Field("date", ("Acquisition/AcquisitionDatetime",)),
)


def _ini_fields(beam: str, scan: str) -> tuple[Field, ...]:
    return (
        Field("high_voltage_kv", (f"[{beam}] HV", "[Beam] HV"), "V"),
        Field("beam_current_na", (f"[{beam}] BeamCurrent",), "A"),
        Field("working_distance_mm", (f"[{beam}] WD", "[Stage] WorkingDistance"), "m"),
        Field("tilt_correction_angle_deg", (f"[{beam}] TiltCorrectionAngle",), "rad"),
        Field("stage_tilt_deg", (f"[{beam}] StageTa", "[Stage] StageT"), "rad"),
        Field("stage_rotation_deg", (f"[{beam}] StageR", "[Stage] StageR"), "rad"),
        Field("stage_x_mm", (f"[{beam}] StageX", "[Stage] StageX"), "m"),
        Field("stage_y_mm", (f"[{beam}] StageY", "[Stage] StageY"), "m"),
        Field("stage_z_mm", (f"[{beam}] StageZ", "[Stage] StageZ"), "m"),
        Field("beam_shift_x_um", (f"[{beam}] BeamShiftX", "[Beam] BeamShiftX"), "m"),
        Field("beam_shift_y_um", (f"[{beam}] BeamShiftY", "[Beam] BeamShiftY"), "m"),
        Field("scan_rotation_deg", (f"[{beam}] ScanRotation", "[Beam] ScanRotation"), "rad"),
        Field("dwell_us", (f"[{scan}] Dwell", "[Scan] Dwelltime", "[Scan] Dwell"), "s"),
        Field("frame_time_s", (f"[{scan}] FrameTime", "[Scan] FrameTime"), "s"),
        Field("line_integration", (f"[{scan}] LineIntegration",), ""),
        Field("chamber_pressure_pa", ("[Vacuum] ChPressure",), "Pa"),
        Field("detector", ("[Detectors] Name",)),
        Field("detector_mode", ("[Detectors] Mode",)),
        Field("instrument", ("[System] SystemType", "[System] Type")),
        Field("software", ("[System] Software",)),
        Field("dynamic_focus", (f"[{beam}] DynamicFocusIsOn",)),
    )


def read_thermo(tags: TiffTags) -> VendorInfo | None:
    """Facts of one image; ``None`` when the TIFF holds no Thermo/FEI block."""
    warnings: list[str] = []
    ini, xml = _find_ini(tags), _find_xml(tags, warnings)
    if not (ini.raw or xml.raw or warnings):
        return None
    beam, scan = ini.raw.get("[Beam] Beam") or "EBeam", ini.raw.get("[Beam] Scan") or "EScan"
    metadata = xml.collect(_XML_FIELDS) | ini.collect(_ini_fields(beam, scan)) | ini.date("[User] Date", "[User] Time")
    metadata |= ini.collect((Field("beam", ("[Beam] Beam",)),))
    cols_said = ini.count("[Image] ResolutionX") or xml.count("BinaryResult/ImageSize/X")
    pixel = _pixel(ini, xml, scan) or _pixel_of_width(ini, f"[{beam}] HFW", cols_said or tags.cols)
    column_angle = UNKNOWN
    if _is_dual_beam(ini, metadata):
        column_angle = default_column_angle(COLUMN_ANGLE_DEG, VENDOR)
    else:
        warnings.append(no_ion_column(metadata["instrument"].value))
    tilt_corrected, doubts = judge_tilt_correction(
        ini.flag(f"[{beam}] TiltCorrectionIsOn") or xml.flag("Optics/SampleTiltCorrectionOn"),
        metadata.get("tilt_correction_angle_deg", UNKNOWN),
        column_angle,
        metadata.get("stage_tilt_deg", UNKNOWN),
    )
    if str(metadata.get("beam", UNKNOWN).value).upper().startswith("I"):
        doubts.append(f"{metadata['beam'].origin}: this is an ion-beam image, not a view of the milled face")
    info = VendorInfo(
        VENDOR,
        Calibration(
            pixel_nm=pixel,
            column_angle_deg=column_angle,
            tilt_corrected=tilt_corrected,
            sample_tilt_deg=sample_tilt(
                metadata.get("stage_tilt_deg", UNKNOWN),
                column_angle,
                ini.number(f"[{beam}] PreTilt", unit="rad", to="deg"),
            ),
        ),
        metadata,
        ini.count("[Image] ResolutionY"),
        metadata.get("detector", UNKNOWN).value,
        warnings=warnings + doubts,
        raw={**xml.raw, **ini.raw},
    )
    return sized(info, tags.rows, tags.cols, cols_said)


def _find_ini(tags: TiffTags) -> Keys:
    for code in (34682, 34680):
        if b"[" in tags.private.get(code, b""):
            return Keys(parse_ini(decode(tags.private[code])), f"tag {code}")
    if 34683 not in tags.private:
        tail = file_tail(tags.path)
        start = tail.rfind(b"[User]")
        keys = parse_ini(decode(tail[start:])) if start >= 0 else {}
        if any(key.startswith(("[Beam]", "[Scan]", "[EScan]")) for key in keys):
            return Keys(keys, "end of file")
    return Keys({}, "")


def _find_xml(tags: TiffTags, warnings: list[str]) -> Keys:
    data = tags.private.get(34683)
    if data is None:
        return Keys({}, "")
    root = parse_xml(data)
    if root is None:
        warnings.append("tag 34683: the XML is damaged and was left out")
        return Keys({}, "")
    return Keys(flatten(root), "tag 34683")


def _pixel(ini: Keys, xml: Keys, scan: str) -> Sourced:
    return pixel_pair(
        ini.length_nm("[Scan] PixelHeight", f"[{scan}] PixelHeight", unit="m"),
        ini.length_nm("[Scan] PixelWidth", f"[{scan}] PixelWidth", unit="m"),
    ) or pixel_pair(
        xml.length_nm("BinaryResult/PixelSize/Y", unit="m"),
        xml.length_nm("BinaryResult/PixelSize/X", unit="m"),
    )


def _pixel_of_width(ini: Keys, beam_key: str, cols: int) -> Sourced:
    width = ini.length_nm("[Scan] HorFieldsize", beam_key, unit="m")
    return Sourced((width.value / cols,) * 2, f"{width.origin} / {cols} columns", "given") if width else UNKNOWN


def _is_dual_beam(ini: Keys, metadata: dict[str, Sourced]) -> bool:
    """Whether there is an ion column; assumed when the instrument is not named."""
    system = ini.raw.get("[System] Type", "")
    instrument = metadata.get("instrument", UNKNOWN).value or ""
    return not (system or instrument) or bool(_DUAL_BEAM.search(f"{system} {instrument}"))
