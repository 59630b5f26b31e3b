"""The embedded AWS: MiniStack, with real sandboxes and a real event source poller.

::

    Platform ──► supervisor (server.py, one process)
                   ├─ runtime server (runtime.py) ──► sandboxes (sandbox.py, bootstrap.py; a process each)
                   ├─ poller (poller.py, ports.py)
                   └─ emulator (emulator.py, a process of MiniStack's own environment)

It needs three environments beside ``.venv``, which ``make setup`` makes from the files in ``locks/``:

=========================  ====================  ==============================  ==========================
Environment                Lock file             Looked for at                   Or where this says
=========================  ====================  ==============================  ==========================
MiniStack                  ``ministack.txt``     ``.tools/ministack/bin/python`` ``MILLRACE_MINISTACK_PYTHON``
the functions' runtime     ``runtime.txt``       ``.tools/runtime/bin/python``   ``MILLRACE_RUNTIME_PYTHON``
SAM                        ``sam.txt``           ``.tools/sam/bin/sam``          ``MILLRACE_SAM``
=========================  ====================  ==============================  ==========================

The functions' runtime must be of the Python version of the template, and holds what Lambda's has:
``awslambdaric`` and ``boto3``. Everything else comes from a function's zip and its layers.

What differs from AWS, beside what MiniStack's own pages say:

* An on-failure destination in S3 gets ``aws/lambda/<mapping>/<shard>/YYYY/MM/DD/…``, as on AWS: no prefix
  can be chosen, so a notification for it filters by ``aws/lambda/``. ``payload`` is the event as an object.
* Routes with IAM authorization are open, since only this machine reaches them; a JWT is asked for.
* The state machine's role, and the permission of S3 or the API to invoke a function, are not checked.
* A running execution is gone after a restart (``States.ServiceRestart``); the stream's positions stay.
* ``/tmp`` is the machine's; a function finds its own folder in ``TMPDIR``, as ``tempfile`` does.
"""
