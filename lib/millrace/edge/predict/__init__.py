"""The serving edge: requests of several protocols in, predictions out, one function.

==============  ==============================================================================
``handler``     the event: which protocol, one log line, one write
``call``        a request under way, and the values that are the same in every protocol
``score``       rows to predictions: the one place that scores
``ours``        ``POST /predict`` and its longer paths, and direct events
``table``       CSV, for ``ours`` and ``mlflow``
``mlflow``      MLflow's and SageMaker's ``/invocations`` and ``/ping``
``v2``          the Open Inference Protocol, with ``tensors`` for its binary data
``routes``      which of these a path belongs to
==============  ==============================================================================

A protocol is a module with two functions: ``answer(call)`` reads the event into a
:class:`~millrace.edge.predict.call.Request`, has it scored, and returns the reply in its own shape;
``refuse(error, path)`` returns the reply that an error becomes. It is imported when its path is first asked
for: the start pays for ``POST /predict`` alone.
"""

from millrace.edge.predict.handler import Predict

__all__ = ["Predict"]
