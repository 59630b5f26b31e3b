"""Records of a stream are scored once each, or collected once each for the next training.

``outcome`` is what came of a record, ``commit`` writes a batch's outcomes so that a replay has no second
effect, ``labelled`` is what a row to train on must look like, ``collect`` takes records that bring such rows,
``ports`` is what all that needs of the world.
"""

from millrace.streams.collect import Collected, Delivery, collect, commit_all
from millrace.streams.commit import Committed, commit, publisher
from millrace.streams.labelled import Labelled
from millrace.streams.outcome import MAX_ID, Outcome, Source, identity_of

__all__ = [
    "MAX_ID",
    "Collected",
    "Committed",
    "Delivery",
    "Labelled",
    "Outcome",
    "Source",
    "collect",
    "commit",
    "commit_all",
    "identity_of",
    "publisher",
]
