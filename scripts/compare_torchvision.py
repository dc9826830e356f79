"""ROI align, non-maximum suppression and box coding beside torchvision's.

    pip install --no-deps --target /tmp/tv torch torchvision
    PYTHONPATH=/tmp/tv:. python scripts/compare_torchvision.py -o docs/benchmarks/torchvision.json

Where torchvision's compiled operators do not load (its wheel is for CUDA, torch's is not), its own ROI align in Python
is compared, and non-maximum suppression, which has none, is left out.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import torch

import galzoo
from galzoo.files import write_json
from galzoo.layers.boxes import code_boxes, decode_boxes, overlap
from galzoo.layers.roi_align import roi_align
from galzoo.layers.suppression import suppress

try:
    import torchvision
except RuntimeError:
    # Its import registers shapes of operators that are not there.
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

from torchvision.extension import _has_ops
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou, nms
from torchvision.ops import roi_align as torchvision_align
from torchvision.ops.roi_align import _roi_align


def reference_align(features, boxes, size, scale, samples):
    """Return torchvision's ROI align, compiled or in Python."""
    if _has_ops():
        return torchvision_align(features, boxes, size, scale, samples, aligned=True)
    number = torch.cat([torch.full((len(each), 1), float(row)) for row, each in enumerate(boxes)])
    rows = torch.cat([number, torch.cat(boxes)], dim=1)
    return _roi_align.__wrapped__(features, rows, scale, size, size, samples, True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("torchvision.json"))
    arguments = parser.parse_args()
    rng, to_numpy, results = np.random.default_rng(0), keras.ops.convert_to_numpy, {}
    corner, size = rng.uniform(-10, 120, (2, 300, 2)), rng.uniform(2, 60, (2, 300, 2))
    boxes = np.concatenate([corner, corner + size], axis=-1).astype("float32")

    for stride in (2, 4, 8):
        plane = rng.normal(size=(2, 128 // stride, 128 // stride, 16)).astype("float32")
        for samples in (1, 2):
            level = np.zeros((2, 300), "int32")
            ours = to_numpy(roi_align([plane], [stride], boxes, level, 7, samples))
            # Its pixels begin at integers, ours are centred on them.
            given = [torch.from_numpy(each + 0.5) for each in boxes]
            features = torch.from_numpy(plane.transpose(0, 3, 1, 2).copy())
            theirs = reference_align(features, given, 7, 1 / stride, samples)
            theirs = theirs.numpy().transpose(0, 2, 3, 1).reshape(ours.shape)
            if not _has_ops():
                # In Python it does not make points 0 that are more than a cell outside.
                inside = ((boxes > 0) & (boxes < 127)).all(axis=-1).ravel()
                ours, theirs = (each.reshape(600, -1)[inside] for each in (ours, theirs))
            results[f"roi_align stride {stride}, {samples} x {samples} samples"] = float(np.abs(ours - theirs).max())

    score = rng.normal(size=(2, 300)).astype("float32")
    for limit in (0.3, 0.5, 0.7) if _has_ops() else ():
        kept = to_numpy(suppress(boxes, score, limit))
        different = 0
        for row in range(2):
            theirs = nms(torch.from_numpy(boxes[row]), torch.from_numpy(score[row]), limit).numpy()
            different += len(set(theirs.tolist()) ^ set(np.flatnonzero(kept[row]).tolist()))
        results[f"nms at {limit}, boxes that differ"] = different
    ious = box_iou(torch.from_numpy(boxes[0]), torch.from_numpy(boxes[1])).numpy()
    results["box_iou"] = float(np.abs(to_numpy(overlap(boxes[:1], boxes[1:]))[0] - ious).max())
    coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
    one, other = torch.from_numpy(boxes[0]), torch.from_numpy(boxes[1])
    code = coder.encode_single(one, other)
    results["box code"] = float(np.abs(to_numpy(code_boxes(boxes[1], boxes[0])) - code.numpy()).max())
    decoded = coder.decode_single(code, other).numpy()
    results["decoded boxes"] = float(np.abs(to_numpy(decode_boxes(boxes[1], code.numpy())) - decoded).max())
    for name, value in results.items():
        print(f"{name}: {value:.2g}")
    versions = {"galzoo": galzoo.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__}
    versions["compiled operators"] = _has_ops()
    write_json(arguments.output, {"greatest_differences": results, "versions": versions})


if __name__ == "__main__":
    main()
