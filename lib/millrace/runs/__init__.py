"""The use cases of one run, in the order of its way: ingest, fan out, preprocess, decide, collect, finish."""
