"""Where node-opcua lives, which is both a server and a client that share no code with ours."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEER = Path(__file__).parent / "node_opcua"


def install() -> None:
    """Install it below the tests if it is not there yet; skip the test where that fails."""
    if (PEER / "node_modules" / "node-opcua-client" / "package.json").exists():
        return
    command = [".ci/node.sh", "npm", "--prefix", str(PEER), "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"node-opcua cannot be installed: {done.stderr[-300:]}")
