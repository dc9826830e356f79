"""The suite "reconstruction" of a preset or run."""

from galzoo.contracts.suites import Result
from galzoo.evaluate.held_out import held_out, some, stamp_file
from galzoo.tasks.reconstruct.report import result_tables


def run(request):
    """Score a model on the test split of its stamps, and on real ones; see `evaluate_reconstruction`.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request
        Classical methods are tuned on the validation split. Real sets are named by their files.

    Returns
    -------
    ReconstructionResult
    """
    from galzoo.tasks.reconstruct.scores import evaluate_reconstruction

    path, splits = stamp_file(request), request.recipe["data"]["split"]
    metrics = evaluate_reconstruction(
        request.model,
        held_out(path, "test", splits, request.limit),
        real={file.stem.removeprefix("real_"): some(file, limit=request.limit) for file in request.real},
        tuning=held_out(path, "valid", splits, request.limit),
        batch_size=request.recipe["evaluate"]["batch_size"],
        report=request.report,
    )
    return ReconstructionResult(metrics)


class ReconstructionResult(Result):
    """Numbers of `evaluate_reconstruction`."""

    def tables(self):
        return result_tables(self.metrics)

    def headline(self):
        first = next(iter(self.metrics["chi2"]))
        total = self.metrics["chi2"][first][-1]
        classical = self.metrics.get("deconvolution", {}).get("richardson_lucy")
        codes = {}
        if used := self.metrics.get("codebook", {}).get(first):
            codes["perplexity"] = (used["perplexity"], used["perplexity_error"])
            codes["codes used"] = f"{100 * used['share_used']:.0f} %"
        return codes | {
            "chi2 per pixel, median": (total["median"], total["median_error"]),
            "error of Richardson-Lucy over galzoo's": (
                (classical["all"]["ratio"], classical["all"]["ratio_error"]) if classical else None
            ),
        }
