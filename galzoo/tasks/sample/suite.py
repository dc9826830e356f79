"""The suite "realism" of a preset or run."""

from galzoo.contracts.suites import Result
from galzoo.data import hdf5
from galzoo.data.bands import in_order
from galzoo.data.crop import crop_stamps
from galzoo.evaluate.held_out import held_out, refuse_real, stamp_file
from galzoo.tasks.sample.realism_tables import result_tables

# Galaxies that samples are drawn for, and training galaxies that they are compared with, for time. Fewer of these
# where their planes would fill so many bytes.
_SAMPLES, _TRAIN, _TRAIN_BYTES = 1000, 4000, 1.5e9


def run(request):
    """Compare samples with the test split of the stamps that a prior learnt from; see `evaluate_realism`.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request

    Returns
    -------
    RealismResult
    """
    from galzoo.tasks.sample.realism import evaluate_realism

    refuse_real(request, "samples are compared with galaxies as they were trained on")
    path, splits = stamp_file(request), request.recipe["data"]["split"]
    limit = _SAMPLES if request.limit is None else request.limit
    header = hdf5.read_header(path)
    bytes_each = 4 * len(header["keys"]) * len(header["bands"]) * header["shape"][0] * header["shape"][1]
    train = int(min(_TRAIN, max(4 * limit, 100), _TRAIN_BYTES // bytes_each))
    metrics = evaluate_realism(
        request.model,
        as_learnt(request.model, held_out(path, "test", splits, limit, once=True)),
        as_learnt(request.model, held_out(path, "train", splits, train)),
        as_learnt(request.model, held_out(path, "valid", splits, limit, once=True)),
        n=limit,
        batch_size=request.recipe["evaluate"]["batch_size"],
        report=request.report,
        title=f"Realism of {request.card['name']}",
    )
    return RealismResult(metrics)


def as_learnt(model, stamps):
    """Return stamps in the bands of a prior and, where they are larger than those it learnt, cut to their size."""
    stamps = in_order(stamps, model.bands)
    size = getattr(model, "stamp_size", None)
    if size is None or min(size) >= min(stamps.image.shape[1:3]):
        return stamps
    return crop_stamps(stamps, min(size))


class RealismResult(Result):
    """Numbers of `evaluate_realism`."""

    def tables(self):
        return result_tables(self.metrics)

    def headline(self):
        likelihood, memory, row = self.metrics["likelihood"], self.metrics["memorisation"], {}
        if likelihood is not None:
            for name, text in (("model", ""), ("positions", ", each position by itself")):
                value = likelihood[name]
                row[f"nats per {likelihood['unit']}{text}"] = (value["value"], value["value_error"])
        found = self.metrics.get("statistics", {}).get("observed", {})
        for name, text in (("samples", "samples"), ("real", "real galaxies")):
            distance = (found[name]["mean"], found[name]["error"]) if name in found else None
            row[f"distance of morphology to real galaxies, {text}"] = distance
        row["nearest training galaxy, samples over held-out"] = (memory["ratio"], memory["error"])
        return row
