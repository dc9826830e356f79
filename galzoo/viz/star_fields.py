"""Pictures of a StarNet while it trains."""

from galzoo.files import atomic_path


def draw_batch(model, batch, path):
    """Draw the first fields of a batch with true stars and the ones found, and write a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    number = min(4, len(batch["image"]))
    batch = {key: value[:number] for key, value in batch.items()}
    found = model.detect(batch, threshold=0.5)
    figure = Figure(figsize=(4.2 * number, 4.4))
    FigureCanvasAgg(figure)
    for row, axes in enumerate(figure.subplots(1, number, squeeze=False)[0]):
        image = batch["image"][row, ..., 0]
        low, high = sorted(float(v) for v in (image.min(), image.max()))
        middle, spread = float(image.mean()), float(image.std()) or 1.0
        axes.imshow(image, origin="lower", cmap="gray", vmin=max(low, middle - spread), vmax=min(high, middle + spread))
        there = batch["positions"][row, : batch["n_sources"][row]]
        axes.plot(*there.T, "o", ms=7, mfc="none", mec="tab:cyan", mew=0.8)
        kept = found.probability[row] > 0
        axes.plot(*found.positions[row, kept].T, "+", ms=5, color="tab:red", mew=0.8)
        axes.set_title(f"{len(there)} stars, {int(kept.sum())} found")
        axes.set_xticks([])
        axes.set_yticks([])
    figure.tight_layout()
    with atomic_path(path) as part:
        figure.savefig(part, dpi=80, format="png")
