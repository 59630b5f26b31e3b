"""The fastest way to score blocks and to write numbers on this machine: by the kernel if there is one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from millrace.plan import Plan

__all__ = ["BlockScorer", "block_scorer", "lines"]

_log = logging.getLogger(__name__)
_said: set[str] = set()


class BlockScorer(Protocol):
    """Scores blocks of converted columns: :class:`millrace.scoring.blocks.BlockScorer` says how."""

    def score(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return predictions, shape (n,), or probabilities, shape (n, classes).

        The columns are arrays, or those of texts :class:`millrace.scoring.columns.Words`.
        """
        ...


def block_scorer(plan: Plan) -> BlockScorer:
    """Return what scores blocks of the plan: the kernel when there is one that knows all of it, else numpy.

    Why there is none is said in the log, once a process.
    """
    from millrace.scoring.kernel import KernelScorer, NotCovered, Unavailable

    try:
        scorer = KernelScorer(plan)
        if scorer.is_native:
            return _Kernel(scorer, bool(plan.classes))
    except NotCovered:
        pass
    except Unavailable as error:
        if str(error) not in _said:
            _said.add(str(error))
            _log.warning("Blocks are scored with numpy, because there is no kernel: %s", error)
    from millrace.scoring import blocks

    return blocks.BlockScorer(plan)


def lines(numbers: NDArray[np.float64], between: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Write rows of numbers, each number as ``repr`` does; nothing stands for one that is not finite.

    Parameters
    ----------
    numbers : ndarray of float64, shape (n, k)
        The rows.
    between : str
        A character.

    Returns
    -------
    text : ndarray of uint8
        In UTF-8.
    offsets : ndarray of int32, shape (n + 1,)
        Where each line begins, and the last ends.
    """
    from millrace.scoring.kernel import spelling

    numbers = np.ascontiguousarray(numbers, dtype=np.float64)
    offsets = np.zeros(len(numbers) + 1, dtype=np.int32)
    text = np.empty(spelling.MOST_BYTES * numbers.size, dtype=np.uint8)
    size = spelling.spell(numbers, numbers.shape[1], text, offsets[1:], between=between)
    return text[:size], offsets


class _Kernel:
    """The kernel with numpy's arrays."""

    def __init__(self, scorer: Any, classify: bool) -> None:
        self._scorer = scorer
        self._classify = classify

    def score(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        found = np.frombuffer(self._scorer.score(columns))
        return found.reshape(-1, self._scorer.width) if self._classify else found
