import pytest
from aws_error import aws_error


@pytest.mark.parametrize(
    ("result", "matter", "remedy"),
    [
        ({"msg": "Failed: Unable to locate credentials"}, "no AWS credentials", "AWS_PROFILE"),
        ({"msg": "An error occurred (AuthFailure) when calling"}, "does not know these credentials", "clock"),
        (
            {"msg": "x", "error": {"code": "UnauthorizedOperation", "message": "no"}},
            "permission refused",
            "policy.json",
        ),
        ({"msg": "x", "error": {"code": "VcpuLimitExceeded", "message": "no"}}, "quota", "ec2_execute_count"),
        (
            {"msg": "x", "error": {"code": "InsufficientInstanceCapacity", "message": "no"}},
            "no such instance",
            "ec2_zone",
        ),
        ({"msg": "fatal error: (NoSuchBucket) when calling ListObjectsV2"}, "no such bucket", "aws s3 ls"),
        ({"msg": "error occurred (404) when calling the HeadObject operation"}, "no such object", "aws s3 ls"),
        ({"msg": 'Could not connect to the endpoint URL: "https://x"'}, "can't be reached", "AWS_REGION"),
        (
            {"msg": "x", "error": {"code": "InvalidSubnetID.NotFound", "message": "no"}},
            "no such network",
            "ec2_subnet_id",
        ),
    ],
)
def test_what_aws_refuses_comes_with_a_remedy_in_one_line(result, matter, remedy):
    said = aws_error(result)
    assert matter in said
    assert remedy in said
    assert "\n" not in said


def test_of_a_loop_the_item_that_failed_counts():
    items = [{"failed": False, "msg": "fine"}, {"failed": True, "msg": "ExpiredToken: over"}]
    assert "have expired" in aws_error({"msg": "One or more items failed", "results": items})


def test_what_is_not_known_is_told_as_it_came():
    assert aws_error({"msg": "the moon\n  is full"}) == "the moon is full."
    assert aws_error({}) == "failed without a message."


def test_a_long_message_is_cut():
    assert len(aws_error({"msg": "x" * 5000})) < 300
