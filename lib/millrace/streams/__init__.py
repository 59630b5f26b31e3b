"""Records on a stream are scored once each.

``outcome`` is what came of a record, ``commit`` writes a batch's outcomes so that a replay has no second
effect, ``ports`` is what that needs of the world.
"""

from millrace.streams.commit import Committed, commit
from millrace.streams.outcome import MAX_ID, Outcome, Source, identity_of

__all__ = ["MAX_ID", "Committed", "Outcome", "Source", "commit", "identity_of"]
