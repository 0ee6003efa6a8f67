"""What a process loads to run a kernel: Numba, but not the libraries that Numba only asks for."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from symbp.runtime.jit import kernel

@kernel(cache=False)
def twice(x):
    return 2 * x

assert twice(3) == 6
assert "scipy.linalg" not in sys.modules
print("alone")
try:
    import scipy
except ImportError:
    sys.exit()

@kernel(cache=False)
def product(a, b):
    return a @ b

print(product(np.eye(2), np.eye(2)).trace())
"""


def test_linear_algebra_is_imported_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["alone"], ["alone", "2.0"])
