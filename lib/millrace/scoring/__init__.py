"""Evaluates scoring plans: ``rows`` with the standard library, ``blocks`` with numpy, ``kernel`` in C.

The two compute the same, in the same order: comparisons and trees to the last bit, sums and exponentials
within rounding. A kind of encoder or estimator has one class in each, in the module of its family, and its
check in ``plan.kinds``. Nothing is imported here: a row must not pay for numpy.
"""
