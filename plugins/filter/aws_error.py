"""Ansible filter: what AWS refused, in one line with the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping

# First match wins. Error codes: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
REMEDIES = (
    (
        r"NoCredentials|Unable to locate credentials|Partial credentials",
        "no AWS credentials",
        "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`.",
    ),
    (
        r"AuthFailure|InvalidClientTokenId|UnrecognizedClientException|SignatureDoesNotMatch|InvalidAccessKeyId",
        "AWS does not know these credentials",
        "Check AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and this machine's clock.",
    ),
    (r"ExpiredToken|RequestExpired|token.* expired", "the AWS credentials have expired", "Log in to AWS again."),
    (
        r"UnauthorizedOperation|AccessDenied|not authorized to perform",
        "AWS permission refused",
        "The user or role needs files/ec2/policy.json.",
    ),
    (
        r"VcpuLimitExceeded|InstanceLimitExceeded|MaxSpotInstanceCountExceeded|LimitExceeded",
        "an AWS quota is used up",
        "Ask for less (ec2_execute_count, smaller types), end other instances, or have the quota raised.",
    ),
    (
        r"InsufficientInstanceCapacity|SpotMaxPriceTooLow|Unsupported\b",
        "AWS has no such instance here just now",
        "Try another type, zone (ec2_zone) or region.",
    ),
    (
        r"InvalidAMIID|InvalidAMI",
        "no such image",
        "Check ec2_image_owner, ec2_image_name and the region.",
    ),
    (
        r"InvalidParameterValue.*[Ii]nstance ?[Tt]ype|InvalidInstanceType|instance type '[^']*' does not exist",
        "no such instance type here",
        "Check ec2_manager_type, ec2_submit_type, ec2_execute_type, ec2_architecture and the region.",
    ),
    (
        r"EndpointConnectionError|Could not connect to the endpoint|NameResolutionError|ConnectTimeout|valid region",
        "AWS can't be reached",
        "Check the region (AWS_REGION) and this machine's network.",
    ),
    (
        r"NoSuchBucket|InvalidBucketName|bucket does not exist",
        "no such bucket",
        "Check the name: `aws s3 ls` lists yours.",
    ),
    (r"NoSuchKey|\(404\).*HeadObject", "no such object", "Check the name: `aws s3 ls` shows what there is."),
    (r"InvalidVpcID|InvalidSubnetID", "no such network", "Check ec2_vpc_id, ec2_subnet_id and the region."),
    (
        r"DependencyViolation",
        "something that is not the cluster's uses it",
        "Remove what was added to the cluster's network by hand, then run again.",
    ),
)
DETAIL_LENGTH = 200


def aws_error(result: Mapping) -> str:
    """Return what went wrong in one line: the matter, what AWS said, what to do.

    Args:
        result: The failed task's result (``ansible_failed_result``), or the failed item's of a loop.
    """
    failed = next((item for item in result.get("results", ()) if item.get("failed")), result)
    error = failed.get("error") or {}
    said = " ".join(str(part) for part in (error.get("code"), error.get("message"), failed.get("msg")) if part)
    said = " ".join(said.split())
    detail = said if len(said) <= DETAIL_LENGTH else f"{said[:DETAIL_LENGTH]}..."
    for pattern, matter, remedy in REMEDIES:
        if re.search(pattern, said):
            return f"{matter} ({detail}). {remedy}"
    return f"{detail or 'failed without a message'}."


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict:
        """Return the filters of this file."""
        return {"aws_error": aws_error}
