"""The report of a training while it goes on: a server that reads the run's folder and feeds a page.

The server needs `pip install starlette uvicorn`; reading a folder, and `Control` in a training, do not.
"""

from undertow.report.live.control import Control, read_done, read_wish, write_wish
from undertow.report.live.folder import RunFolder
from undertow.report.live.watch import Watch, serve, start_watching

__all__ = ["Control", "RunFolder", "Watch", "read_done", "read_wish", "serve", "start_watching", "write_wish"]
