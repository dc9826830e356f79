"""Start-up lines of TensorFlow are kept off the terminal, everything else comes through, also before a crash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NATIVE = """
import os
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
os.write(2, b"I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.\\n")
os.write(2, b"E0000 00:00:1.2 3 cuda_platform.cc:52] failed call to cuInit: INTERNAL\\n")
os.write(2, b"E0000 00:00:1.2 3 onednn.cc:5] oneDNN supports DT_UINT8 only\\n")
os.write(2, b"E0000 00:00:1.2 3 alloc.cc:9] out of memory\\n")
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("import os; os.abort()", -6)])
def test_native_lines(tmp_path, end, code):
    (tmp_path / "tensorflow.py").write_text(NATIVE)
    program = f"""
import sys
from galzoo.cli.quiet import install
install()
sys.stderr.write("before\\n")
import tensorflow
sys.stderr.write("of Python: I0000 is kept\\n")
{end}
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code
    lines = sorted(line for line in ran.stderr.splitlines() if "Fatal" not in line)
    assert lines == ["E0000 00:00:1.2 3 alloc.cc:9] out of memory", "before", "of Python: I0000 is kept"]
