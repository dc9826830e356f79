"""Keeps what TensorFlow says of itself when it starts off the terminal; all else that native code writes stays."""

import io
import os
import subprocess
import sys

# Beginnings of lines that say nothing that a user can act on: notes of absl, a missing GPU, kernels that oneDNN lacks.
NOISE = (
    r"WARNING: All log messages before absl::InitializeLog\(\)",
    r"I0000 ",
    r"To enable the following instructions: ",
    r"E0000 .*failed call to cuInit",
    r"E0000 .*oneDNN supports DT_",
)
_FILTER = """
import re, sys
noise = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not noise.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


class _AtImport:
    """Finds no module; starts the filter when TensorFlow is first looked for."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            sys.meta_path.remove(self)
            _filter_errors()


def install():
    """Filter the standard error of native code from the moment that TensorFlow is imported; of Python, nothing."""
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _AtImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AtImport())


def _filter_errors():
    try:
        if sys.stderr.fileno() != 2:
            return
    except (AttributeError, ValueError, io.UnsupportedOperation):
        return
    sys.stderr.flush()
    own = os.dup(2)
    # A process of its own: what a crash says last still comes through.
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FILTER, "|".join(NOISE)], stdin=subprocess.PIPE, start_new_session=True
    )
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    # Python writes to the terminal as before, so that progress bars know that it is one.
    sys.stderr = os.fdopen(own, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    # The child ends when this process does; nobody waits for it.
    child.returncode = 0
