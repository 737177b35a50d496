"""The run on HTCondor: chunks, submission, the queue as data, status, explanations with remedies."""
