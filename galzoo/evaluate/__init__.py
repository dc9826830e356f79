"""Suites that score a model against baselines on the same data, and the report that shows the scores."""
