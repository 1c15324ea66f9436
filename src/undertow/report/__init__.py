"""What people read of a function or a run: a page about a run, and what `explain` and `check` work on."""

from undertow.report.contents import report_data
from undertow.report.html import Section, render_page, write_report
from undertow.report.subject import Subject, from_file, from_run, read_subject, run_user_code

__all__ = [
    "Section",
    "Subject",
    "from_file",
    "from_run",
    "read_subject",
    "render_page",
    "report_data",
    "run_user_code",
    "write_report",
]
