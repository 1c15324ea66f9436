"""What people read of a function or a run: reports and walks as pages, and what commands work on."""

from undertow.report.contents import report_data
from undertow.report.html import write_report
from undertow.report.subject import Subject, from_file, from_run, function_beside, read_subject, run_user_code
from undertow.report.walks import Walk, walk, walk_model
from undertow.report.whole import report_run

__all__ = [
    "Subject", "Walk", "from_file", "from_run",
    "function_beside", "read_subject", "report_data", "report_run", "run_user_code", "walk",
    "walk_model", "write_report",
]  # fmt: skip
