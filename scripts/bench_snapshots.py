"""The suite "count" of a run of mc_resnet, with the ensemble of the weights that its cosine stages left (snapshots).

    python scripts/bench_snapshots.py RUN --data STAMPS.h5 [--preset mc_resnet_lsst_i_30s] [-o FILE.json] [--limit 5000]

The ensemble's probability is the mean over the snapshots of one pass without dropout each, with a temperature that was
fitted to scenes of the validation split (Huang et al. 2017, arXiv:1704.00109).
"""

import argparse
from pathlib import Path

import numpy as np

from galzoo.contracts.suites import Request
from galzoo.evaluate.report import markdown_table
from galzoo.files import write_json
from galzoo.metrics.calibration import fit_temperature, softmax
from galzoo.presets import load, load_card
from galzoo.tasks.screen.suite import held_out_scenes, run


class Snapshots:
    """Ensemble of the weights in the folder ``stages`` of a run."""

    def __init__(self, folder):
        self.model, self.temperature = load(folder), 1.0
        self.paths = sorted((Path(folder) / "stages").glob("*.npz"))
        if not self.paths:
            raise SystemExit(f"{folder}: no stages/*.npz; give a run of several stages")

    def logits(self, batches):
        """Return the logits of each snapshot, (snapshot, n, class)."""
        found = []
        for path in self.paths:
            with np.load(path) as kept:
                for weight, value in zip(self.model.weights, kept.values(), strict=True):
                    weight.assign(value)
            found.append(np.concatenate([self.model.random_passes(one, 0)["logits"][0] for one in batches]))
        return np.stack(found)

    def fit(self, batches):
        """Fit the temperature."""
        logits = self.logits(batches)
        label = np.minimum(np.concatenate([one["n_sources"] for one in batches]), logits.shape[-1] - 1)
        self.temperature = fit_temperature(logits, label)

    def __call__(self, batches):
        return softmax(self.logits(batches), self.temperature).mean(axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", help="what is judged beside it; the run itself by default")
    parser.add_argument("--limit", type=int, default=5000)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    judged = arguments.preset or arguments.run
    request = Request({"model": load(judged)}, load_card(judged), (arguments.data,), limit=arguments.limit)
    snapshots = Snapshots(arguments.run)
    valid = held_out_scenes(Request(request.models, request.card, request.files, limit=500), "valid")[0]
    snapshots.fit([valid.batch(np.arange(len(valid)))])
    result = run(request, {"snapshot ensemble": snapshots})
    for title, rows in result.tables().items():
        print(f"## {title}\n\n{markdown_table(rows)}")
    if arguments.output:
        about = {"snapshots": len(snapshots.paths), "temperature_of_snapshots": snapshots.temperature}
        write_json(arguments.output, result.metrics | about)


if __name__ == "__main__":
    main()
