"""What the server claims of memory: no more than it fills."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRST_TABLE = """
from pages.server import memory
memory.reserve_nothing()
def claimed():
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
import pyarrow
before = claimed()
pyarrow.array([1, 2, 3])
print(claimed() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell what a process claims")
def test_the_first_table_claims_no_gigabyte():
    done = subprocess.run([sys.executable, "-c", FIRST_TABLE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200_000_000


def test_pyarrow_is_not_there_before_the_server_says_so():
    code = "import sys, app; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
