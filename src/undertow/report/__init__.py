"""What people read of a function or a run: so far, what `undertow explain` and `undertow check` work on."""

from undertow.report.subject import Subject, from_file, from_run, read_subject, run_user_code

__all__ = ["Subject", "from_file", "from_run", "read_subject", "run_user_code"]
