"""Images and catalogues in, batches out: stamps, FITS cut-outs, named data sets and the training pipeline."""
