"""The page of benchmarks is made of whatever a script wrote: values with errors, shapes, nested parts."""

import importlib.util
import json

from galzoo import resources

SCRIPT = resources.configs_dir().parent / "scripts" / "make_benchmarks.py"


def test_values_have_their_errors_and_shapes_are_shapes(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("make_benchmarks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {
        "preset": "some",
        "bands": ["g", "r"],
        "shape": [32, 64],
        "rows": [{"purity": [0.9512, 0.0123], "depth": 24.5, "depth_error": 0.25}],
        "methods": {"SEP": {"nll": 0.8561, "nll_error": 0.0108}, "ours": {"nll": 0.5397, "nll_error": 0.0097}},
    }
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "bench_some.json").write_text(json.dumps(found))
    monkeypatch.setattr(module, "DOCS", tmp_path)
    module.main()
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| some | g, r | 32 x 64 |" in page
    assert "| 0.951 ± 0.012 | 24.50 ± 0.25 |" in page
    assert "| SEP | 0.856 ± 0.011 |\n| ours | 0.5397 ± 0.0097 |" in page
    assert "error" not in page
