"""Features: what each column becomes before an estimator sees it.

``candidates`` and ``plan`` decide with the standard library alone, so that every function can ask them;
``transformers`` and ``blocks`` do the work and need numpy, so nothing is imported here.
"""
