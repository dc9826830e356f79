"""The suite "residual" of a preset: what it finds that a first pass has missed, beside the second look."""

from galzoo.contracts.suites import Result
from galzoo.errors import InputError
from galzoo.evaluate.held_out import refuse_real
from galzoo.tasks.detect.choose_detector import check_role
from galzoo.tasks.detect.residual_scores import SECOND, evaluate_residual
from galzoo.tasks.detect.suite import bin_label, held_out, packaged_deblender


def run(request):
    """Score a model on scene files; see `galzoo.tasks.detect.residual_scores.evaluate_residual`.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request
        One scene file, as for the suite "detect".

    Returns
    -------
    ResidualResult

    Raises
    ------
    InputError
        If there is not one file, or no packaged preset deblends its bands.
    """
    refuse_real(request, "missed sources are counted where the truth is known")
    if len(request.files) != 1:
        raise InputError(f"{len(request.files)} scene files; give one with --data (galzoo simulate scenes)")
    model = request.model
    check_role(model, request.card["name"], residual=True)
    scenes = held_out(request.files[0], model.bands, request.limit)
    deblend = packaged_deblender(tuple(model.bands), scenes.pixel_scale)
    if deblend is None:
        bands = ", ".join(model.bands)
        raise InputError(f"no packaged preset deblends {bands}; the first pass is a fit with one, so none can be made")
    views = []
    metrics = evaluate_residual({"galzoo": model}, deblend, scenes, progress=True, views=views)
    result = ResidualResult({"suite": "residual", "model": "galzoo"} | metrics)
    if request.report is not None:
        from galzoo.tasks.detect.residual_report import write_residual_report

        write_residual_report(result, views, tuple(model.bands), request.card["name"], request.report)
    return result


class ResidualResult(Result):
    """Numbers of `evaluate_residual`."""

    def tables(self):
        methods = [
            {
                "method": name, "added": one["added"], "found": (one["found"], one["found_error"]),
                "false": (one["false"], one["false_error"]),
                "found at 5 % false": (one["found_at_5"], one["found_at_5_error"]),
                "threshold": one["threshold"], "s a scene": one["seconds"],
            }
            for name, one in self.metrics["methods"].items()
        ]  # fmt: skip
        tables = {f"Of {self.metrics['missed']} sources that the first pass missed": methods}
        for key in ("magnitude", "blendedness"):
            rows = {}
            for name, one in self.metrics["methods"].items():
                for row in one.get(f"by_{key}", ()):
                    label = bin_label(row)
                    rows.setdefault(label, {key: label, "missed": row["n"]})[name] = (row["share"], row["share_error"])
            if rows:
                tables[f"Found at 5 % false, by {key}"] = list(rows.values())
        return tables

    def headline(self):
        one, other = (self.metrics["methods"][name] for name in (self.metrics["model"], SECOND))
        return {
            "found at 5 % false": (one["found_at_5"], one["found_at_5_error"]),
            "second look's": (other["found_at_5"], other["found_at_5_error"]),
        }
