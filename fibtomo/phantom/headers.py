"""Metadata texts in the manner of the vendors, with the keys a reader of real files looks for."""

from dataclasses import dataclass
from math import cos, radians, sin
from xml.sax.saxutils import quoteattr

from fibtomo.phantom.truth import Truth

HV_V = 2000
BEAM_CURRENT_A = 1e-10
DWELL_S = 1e-6
WORKING_DISTANCE_M = 4e-3
DETECTOR = "TLD"


@dataclass(frozen=True)
class Frame:
    """What the header of one stored slice tells.

    Attributes
    ----------
    number
        From 1, as milled.
    rows, cols, bar_rows
        Size of the image proper and rows of the info bar below it.
    pixel_m, slice_m
        Pixel size as scanned; nominal slice thickness.
    column_angle_deg, face_angle_deg
        Angle between the columns; between electron beam and face normal.
    tilt_corrected
        Whether the scan corrected the tilt.
    working_distance_m
        Grows as the face recedes, to which the beam is refocused.
    beam_shift_y_m
        Follows the face up the screen where the field of view tracks it.
    bits
        Bits per pixel.
    """

    number: int
    rows: int
    cols: int
    bar_rows: int
    pixel_m: float
    slice_m: float
    column_angle_deg: float
    face_angle_deg: float
    tilt_corrected: bool
    working_distance_m: float
    beam_shift_y_m: float
    bits: int

    @classmethod
    def of(cls, truth: Truth, k: int, bar_rows: int) -> "Frame":
        """Header facts of slice `k`."""
        g = truth.geometry
        z_m, gamma = float(truth.slice_z_nm[k]) * 1e-9, radians(g.face_angle_deg)
        return cls(
            number=int(truth.sequences.slice_numbers[k]) + 1,
            rows=truth.shape[1],
            cols=truth.shape[2],
            bar_rows=bar_rows,
            pixel_m=g.voxel_nm[2] * 1e-9,
            slice_m=g.voxel_nm[0] * 1e-9,
            column_angle_deg=g.column_angle_deg,
            face_angle_deg=g.face_angle_deg,
            tilt_corrected=g.tilt_corrected,
            working_distance_m=WORKING_DISTANCE_M + z_m * cos(gamma),
            beam_shift_y_m=z_m * sin(gamma) if g.tracked else 0.0,
            bits={"uint8": 8, "uint16": 16, "float32": 32}[truth.dtype],
        )

    @property
    def caption(self) -> str:
        """Text of the info bar."""
        return (
            f"fibtomo phantom   HV {HV_V / 1e3:.2f} kV   det {DETECTOR}   WD {self.working_distance_m * 1e3:.3f} mm   "
            f"HFW {self.cols * self.pixel_m * 1e6:.2f} um   slice {self.number}"
        )


def thermo_text(f: Frame) -> str:
    """Sections as in TIFF tag 34682 of Thermo Fisher/FEI instruments (SI units, angles in radians)."""
    tilt_angle = -radians(f.face_angle_deg) if f.tilt_corrected else 0.0
    size = {"HorFieldsize": f.cols * f.pixel_m, "VerFieldsize": f.rows * f.pixel_m}
    pixel = {"PixelWidth": f.pixel_m, "PixelHeight": f.pixel_m}
    stage_tilt = radians(f.column_angle_deg)
    sections: dict[str, dict[str, object]] = {
        "User": {"Date": "01/15/2026", "Time": "09:00:00 AM", "User": "phantom", "UserText": ""},
        "System": {
            "Type": "DualBeam",
            "Dnumber": 0,
            "Software": "fibtomo phantom",
            "Source": "FEG",
            "SystemType": "Virtual",
        },
        "Beam": {"HV": HV_V, "Spot": "", "ScanRotation": 0, "ImageMode": "Normal", "Beam": "EBeam", "Scan": "EScan"},
        "EBeam": {
            "Source": "FEG",
            "HV": HV_V,
            "HFW": f.cols * f.pixel_m,
            "VFW": f.rows * f.pixel_m,
            "WD": f.working_distance_m,
            "BeamCurrent": BEAM_CURRENT_A,
            "BeamShiftX": 0,
            "BeamShiftY": f.beam_shift_y_m,
            "TiltCorrectionIsOn": "yes" if f.tilt_corrected else "no",
            "DynamicFocusIsOn": "no",
            "ScanRotation": 0,
            "StageTa": stage_tilt,
            "StageTb": 0,
            "TiltCorrectionAngle": tilt_angle,
            "PreTilt": "",
        },
        "Scan": {"InternalScan": "true", "Dwelltime": DWELL_S, **pixel, **size, "Average": 0, "Integrate": 0},
        "EScan": {
            "InternalScan": "true",
            "Dwell": DWELL_S,
            **pixel,
            **size,
            "LineIntegration": 1,
            "ScanInterlacing": 1,
        },
        "Stage": {"StageX": 0, "StageY": 0, "StageZ": 4e-3, "StageR": 0, "StageT": stage_tilt, "StageTb": 0},
        "Image": {"ResolutionX": f.cols, "ResolutionY": f.rows, "DriftCorrected": "Off", "ZoomFactor": "1.0"},
        "Detectors": {"Number": 1, "Name": DETECTOR, "Mode": "SE"},
        DETECTOR: {"Contrast": 50, "Brightness": 50},
        "PrivateFei": {"BitShift": 0, "DataBarSelected": "", "DatabarHeight": f.bar_rows},
    }
    return _ini(sections)


def _ini(sections: dict[str, dict[str, object]], newline: str = "\r\n") -> str:
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key}={format(v, '.9g') if isinstance(v, float) else v}" for key, v in values.items()]
        lines.append("")
    return newline.join(lines)


def thermo_project(truth: Truth) -> str:
    """``ProjectData.dat`` of Auto Slice & View: thickness removed before every milled slice, in metres."""
    target = truth.geometry.voxel_nm[0] * 1e-9
    rows = []
    previous_number, previous_z = -1, -truth.geometry.voxel_nm[0]
    for number, z_nm in zip(truth.sequences.slice_numbers, truth.slice_z_nm, strict=True):
        steps = int(number) - previous_number
        measured = (z_nm - previous_z) / steps * 1e-9
        rows += [f'    <Slice TargetThickness="{target:.9g}" MeasuredThickness="{measured:.9g}" />'] * steps
        previous_number, previous_z = int(number), z_nm
    head = f"<ProjectData Name={quoteattr('fibtomo phantom')}>"
    return "\n".join(
        ['<?xml version="1.0" encoding="utf-8"?>', head, "  <Results>", *rows, "  </Results>", "</ProjectData>", ""]
    )


def zeiss_text(f: Frame) -> str:
    """Key and value lines as in TIFF tag 34118 of Zeiss SmartSEM (units inline, angles in degrees)."""
    pixel_nm = f.pixel_m * 1e9
    entries = {
        "DP_TILT_CORRECTION": f"Tilt Corrn. = {'On' if f.tilt_corrected else 'Off'}",
        "DP_DETECTOR_TYPE": "Detector = SE2",
        "DP_DETECTOR_CHANNEL": "Signal A = SE2",
        "DP_IMAGE_STORE": f"Store resolution = {f.cols} * {f.rows + f.bar_rows}",
        "DP_DWELL_TIME": f"Dwell Time = {DWELL_S * 1e9:.0f} ns",
        "DP_ROTATED": "Scan Rot = Off",
        "AP_TILT_ANGLE": f"Tilt Angle = {f.face_angle_deg if f.tilt_corrected else 0.0:.1f} °",
        "AP_TILT_AXIS": "Tilt Axis = 0.0 °",
        "AP_SCANROTATION": "Scan Rotation = 0.0 °",
        "AP_STAGE_AT_T": f"Stage at T = {f.column_angle_deg:.1f} °",
        "AP_IMAGE_PIXEL_SIZE": f"Image Pixel Size = {pixel_nm:.4g} nm",
        "AP_PIXEL_SIZE": f"Pixel Size = {pixel_nm:.4g} nm",
        "AP_WD": f"WD = {f.working_distance_m * 1e3:.3f} mm",
        "AP_ACTUALKV": f"EHT = {HV_V / 1e3:.2f} kV",
        "AP_DATE": "Date :15 Jan 2026",
        "AP_TIME": "Time :09:00:00",
        "SV_VERSION": "Version = fibtomo phantom",
    }
    numbers = ["0", "0", "0", f"{f.pixel_m:.6e}", str(len(entries))]
    return "\r\n".join([*numbers, *(line for pair in entries.items() for line in pair), ""])


def tescan_text(f: Frame) -> str:
    """Sidecar ``.hdr`` of TESCAN instruments (SI units, angles in degrees)."""
    main: dict[str, object] = {
        "Company": "fibtomo phantom",
        "Date": "2026-01-15",
        "Device": "TESCAN virtual",
        "ImageStripSize": f.bar_rows,
        "PixelSizeX": f"{f.pixel_m:.13f}",
        "PixelSizeY": f"{f.pixel_m:.13f}",
        "PixelSizeZ": f"{f.slice_m:.13f}",
        "Time": "09:00:00",
    }
    sem: dict[str, object] = {
        "Detector": "SE",
        "DwellTime": f"{DWELL_S:.9f}",
        "HV": f"{HV_V:.1f}",
        "ImageShiftX": "0.0",
        "ImageShiftY": f"{f.beam_shift_y_m:.11f}",
        "ScanRotation": "0.0",
        "StageTilt": f"{f.column_angle_deg:.3f}",
        "TiltCorrection": f"{f.face_angle_deg if f.tilt_corrected else 0.0:.3f}",
        "WD": f"{f.working_distance_m:.9f}",
    }
    return _ini({"MAIN": main, "SEM": sem})
