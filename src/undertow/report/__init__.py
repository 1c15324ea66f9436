"""What people read of a function or a run: what `undertow explain` and `undertow check` work on; a walk as a page."""

from undertow.report.subject import Subject, from_file, from_run, read_subject, run_user_code
from undertow.report.walks import Walk, walk, walk_model

__all__ = ["Subject", "Walk", "from_file", "from_run", "read_subject", "run_user_code", "walk", "walk_model"]
