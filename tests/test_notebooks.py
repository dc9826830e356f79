"""The notebooks run from top to bottom at smoke size."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import galzoo

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    presets = re.findall(r'^\w*PRESET = "(\w+)"$', path.read_text(encoding="utf-8"), re.M)
    assert presets
    missing = [name for name in presets if name not in galzoo.list_presets()]
    if missing:
        pytest.skip(f"presets {', '.join(missing)} are not made in this tree; run scripts/make_pretrained.py")
    # Their temporary folders go where pytest clears them away.
    environment = {**os.environ, "GALZOO_SMOKE": "1", "MPLBACKEND": "Agg", "TMPDIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    command = [sys.executable, path]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout
