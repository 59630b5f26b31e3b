"""Training: splits, candidates, metrics, the choice of a model and its honest evaluation.

Nothing is imported here: numpy, pandas and scikit-learn come with the modules that use them.
"""
