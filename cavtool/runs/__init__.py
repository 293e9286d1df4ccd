"""Training runs on disk, so that a training killed at any moment can be resumed.

    <root>/<id>/run.toml              the request, and how the run ended
                inputs.safetensors    the inputs of the training
                step-N.safetensors    its state after N steps; the highest N is the latest
                log.jsonl             the events it reported
                output.log            the output of its process, if it is detached
                stop                  a request to write a checkpoint and end
                lock, pid             held by the process that drives the run, and its id

Every file is complete: it is written under a temporary name and then renamed. The operating system releases the lock of
a process that died, so the lock, not the pid, says whether a run is being driven.
"""

from cavtool.runs.record import Outcome, RunRecord
from cavtool.runs.run import INPUTS, Run, Status
from cavtool.runs.store import Runs

__all__ = ["INPUTS", "Outcome", "Run", "RunRecord", "Runs", "Status"]
