"""What people read of a run or a function: tables in the terminal, and what a command is to explain."""

from undertow.report.subject import Subject, from_file, from_run, read_subject, run_user_code
from undertow.report.text import (
    make_console,
    print_check,
    print_decisions,
    print_metrics,
    print_model,
    say,
    show_metrics,
)

__all__ = [
    "Subject",
    "from_file",
    "from_run",
    "make_console",
    "print_check",
    "print_decisions",
    "print_metrics",
    "print_model",
    "read_subject",
    "run_user_code",
    "say",
    "show_metrics",
]
