"""Ads of jobs, as HTCondor prints them."""

# As condor_q -json prints a job of a run: expressions are texts in /Expr(...)/.
JOB = {
    "ClusterId": 12,
    "ProcId": 3,
    "JobStatus": 1,
    "NumJobStarts": 0,
    "RequestCpus": 1,
    "RequestMemory": 900,
    "RequestDisk": 50000,
    "Err": "/srv/share/runs/r1/parallel/logs/s001-c00003.err",
    "Iwd": "/srv/share/runs/r1/parallel",
    "Requirements": '\\/Expr((TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX"))\\/',
}


def job(**changes):
    return {**JOB, **changes}


def held(code, sub=0, reason="", **changes):
    return job(JobStatus=5, HoldReasonCode=code, HoldReasonSubCode=sub, HoldReason=reason, **changes)
