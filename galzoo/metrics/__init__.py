"""Numbers that judge a model: codebook use, goodness of fit, photometry, shapes and artefacts."""
