"""The suite "pairs" of a preset or run."""

from galzoo.contracts.suites import Result
from galzoo.data.bands import in_order
from galzoo.evaluate.held_out import held_out, refuse_real, stamp_file
from galzoo.tasks.deblend.pairs_figures import result_tables


def run(request):
    """Separate pairs made of the test split of the stamps that a model learnt from; see `evaluate_pairs`.

    Parameters
    ----------
    request : galzoo.contracts.suites.Request

    Returns
    -------
    PairsResult
    """
    from galzoo.tasks.deblend.pairs_scores import evaluate_pairs

    refuse_real(request, "pairs are made of single galaxies whose truth is known")
    test = held_out(stamp_file(request), "test", request.recipe["data"]["split"], request.limit, once=True)
    test = in_order(test, request.model.bands)
    size = request.recipe["evaluate"]["batch_size"]
    title = f"Pairs by {request.card['name']}"
    return PairsResult(evaluate_pairs(request.model, test, batch_size=size, report=request.report, title=title))


class PairsResult(Result):
    """Numbers of `evaluate_pairs`."""

    def tables(self):
        return result_tables(self.metrics)

    def headline(self):
        scores, gain = self.metrics["scores"], self.metrics["gain"]
        row = {}
        for measure, unit in (("psnr", "PSNR in dB"), ("ssim", "SSIM")):
            for galaxy, text in (("first", "centred galaxy"), ("other", "other galaxy")):
                found = scores["model"][galaxy][measure]["all"]
                row[f"{unit}, {text}"] = (found["value"], found["value_error"])
        row["PSNR over the best other method"] = (gain["psnr"]["value"], gain["psnr"]["value_error"])
        return row
