"""The browser's scripts, run by node: skipped, visibly, without it, and failed where QUANTLIB_REQUIRE names it."""

import json
import shutil
import subprocess

from requiring import lacking


def node() -> str:
    path = shutil.which("node")
    if path is None:
        lacking("node", "Node")
    return path


def said(script: str, told: object) -> object:
    """What a module prints as JSON that is told this JSON on its standard input."""
    command = [node(), "--input-type=module", "-e", script]
    done = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
