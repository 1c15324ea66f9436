"""What every test shares: reproducible examples, and one thread a process when tests run side by side."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Read once, when NumPy loads its BLAS: two processes with two threads each only wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "reproducible"))
