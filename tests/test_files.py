import json
from pathlib import Path

import numpy as np
import pytest

from galzoo.files import plain, write_json


def test_json_holds_what_numpy_has_and_null_where_there_is_no_number(tmp_path):
    value = {
        "array": np.array([1.5, np.nan, -np.inf]), "number": np.float32(0.25), "count": np.int64(3),
        "nested": [{"flag": np.bool_(True)}, (None, "text", Path("/tmp"))],
    }  # fmt: skip
    write_json(tmp_path / "out.json", value)
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "array": [1.5, None, None], "number": 0.25, "count": 3, "nested": [{"flag": True}, [None, "text", "/tmp"]],
    }  # fmt: skip
    assert plain(np.pi, digits=4) == 3.142
    with pytest.raises(TypeError, match="set"):
        plain({1})
