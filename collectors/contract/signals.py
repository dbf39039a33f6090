"""Exit codes and signals that a collector promises to its supervisor and its operators."""

import signal
from typing import Final

EXIT_OK: Final = 0
"""Stopped on request."""
EXIT_CONFIG: Final = 78
"""EX_CONFIG of sysexits.h: the configuration is unusable, a restart cannot help."""

RELOAD_CONFIG: Final = signal.SIGHUP
RESET_CONNECTIONS: Final = signal.SIGUSR1
"""Close every device connection and open it again; the next heartbeat counts it."""
CLEAR_CACHE: Final = signal.SIGUSR2
"""Forget what was learned of the devices; the next heartbeat counts it."""
