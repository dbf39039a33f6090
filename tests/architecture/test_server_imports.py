"""What the control plane loads before anybody asks for it."""

import subprocess
import sys


def test_the_server_starts_without_the_library_that_writes_workbooks() -> None:
    code = "import sys, control_plane.server; print('openpyxl' in sys.modules)"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "False\n"
