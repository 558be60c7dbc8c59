"""The report of a run: one HTML file with pictures first."""

from fibtomo.report.data import ReportData
from fibtomo.report.document import write_report

__all__ = ["ReportData", "write_report"]
