"""What people read of a function or a run: pages, and what commands work on."""

from undertow.report.html import write_report
from undertow.report.subject import Subject, from_file, from_run, read_subject, run_user_code

__all__ = ["Subject", "from_file", "from_run", "read_subject", "run_user_code", "write_report"]
