"""Ansible inventory plug-in: takes `aws_ec2.yml` where AWS is not set up, and finds no host in it.

So that local hosts and one's own need no AWS account: without it, `amazon.aws.aws_ec2` would look for credentials at
each start and warn that it has none. ansible.cfg asks this plug-in first.
"""

from __future__ import annotations

import os
from pathlib import Path

from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = """
name: no_aws
short_description: No EC2 hosts where AWS is not set up
description:
  - Takes files named C(aws_ec2.yml) when neither the environment nor C(~/.aws) has credentials.
  - Where they come from an instance profile, set E(AWS_REGION).
options: {}
"""

# Each of them is a way to give boto3 credentials, or says that AWS is meant.
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}


def configured() -> bool:
    """Whether anything says that this user has to do with AWS."""
    return any(os.environ.get(name) for name in VARIABLES) or any(
        Path(os.environ.get(name) or default).expanduser().is_file() for name, default in FILES.items()
    )


class InventoryModule(BaseInventoryPlugin):
    """An inventory without hosts."""

    NAME = "no_aws"

    def verify_file(self, path: str) -> bool:
        """Take the file when it is EC2's and AWS is not set up; then no other plug-in is asked."""
        return Path(path).name in ("aws_ec2.yml", "aws_ec2.yaml") and not configured()

    def parse(self, inventory, loader, path, cache=True) -> None:
        """Add nothing."""
