"""The keys of a batch: the one vocabulary that data, models and tasks share."""

KEYS = {
    "image": "(n, y, x, band) pixels in the unit of the data",
    "variance": "(n, y, x, band) variance, unit squared; infinite where a band is absent",
    "mask": "(n, y, x, band) bool, True = bad",
    "psf": "(n, y, x, band) PSF with the pixel response, unit sum",
    "truth": "(n, y, x, band) noiseless image in the model frame, simulated data only",
    "isolated": "(n, source, y, x, band) noiseless sources one by one",
    "positions": "(n, source, 2) pixel position as x, y",
    "n_sources": "(n,) number of sources",
    "flux": "(n, source, band) total flux",
    "boxes": "(n, source, 4) as x0, y0, x1, y1",
    "segmentation": "(n, y, x) label image",
    "label": "(n,) class number",
    "condition": "(n, columns) numbers that a model is conditioned on",
    "codes": "(n, y, x) code of each cell",
    "index": "(n,) row of the object in its file",
}
