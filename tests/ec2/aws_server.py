"""AWS on the loopback: moto's server for EC2, S3, IAM and STS, and the instance metadata service.

    python aws_server.py --port 5555 --state DIR

What moto lacks is added here: Debian's images, the interruption notice of a spot instance (the content of
``DIR/spot-instance-action.ADDRESS``, where ADDRESS is the instance's; 404 without that file, 401 without a session
token), and a list of all actions that were asked for (``DIR/actions``, each with ``tagged`` if it names tags for what
it makes). An instance's public address is its private one: moto would invent one, and the address that it invents is
somebody's.

``DIR/trouble.json`` makes actions go wrong as they do at AWS: ``{"RunInstances": {"after": 2, "code": "Vcpu...",
"message": "..."}}`` lets two calls through and refuses the rest; without a code an action says that it is done, and
does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from pathlib import Path

NOTICE = "/latest/meta-data/spot/instance-action"
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


def read_trouble(state: Path) -> dict[str, dict]:
    """Return what is to go wrong, by action."""
    try:
        return json.loads((state / "trouble.json").read_text())
    except FileNotFoundError:
        return {}


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    # Read when moto is imported.
    os.environ["MOTO_AMIS_PATH"] = str(Path(__file__).with_name("images.json"))
    from moto.core import responses
    from moto.ec2.exceptions import EC2ClientError
    from moto.ec2.models import elastic_block_store, instances
    from moto.ec2.models.elastic_network_interfaces import NetworkInterface
    from moto.instance_metadata.responses import InstanceMetadataResponse
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, run_simple

    answer = InstanceMetadataResponse.metadata_response

    def with_notice(request, full_url, headers):
        if not full_url.partition("?")[0].endswith(NOTICE):
            return answer(request, full_url, headers)
        if "X-aws-ec2-metadata-token" not in request.headers:
            return 401, {}, "Unauthorized"
        try:
            return 200, {}, (args.state / f"spot-instance-action.{request.remote_addr}").read_text()
        except FileNotFoundError:
            return 404, {}, "Not Found"

    InstanceMetadataResponse.metadata_response = staticmethod(with_notice)

    call = responses.BaseResponse.call_action

    calls: Counter[str] = Counter()

    def noted(self):
        action = self._get_action()
        tagged = any(name.startswith("TagSpecification") for name in self.querystring)
        with (args.state / "actions").open("a") as file:
            file.write(f"{self.service_name}:{action}{' tagged' if tagged else ''}\n")
        trouble = read_trouble(args.state).get(action)
        if trouble is None:
            calls[action] = 0
            return call(self)
        calls[action] += 1
        if calls[action] <= trouble.get("after", 0):
            return call(self)
        if "code" in trouble:
            return self.serialized(responses.ActionResult(EC2ClientError(trouble["code"], trouble["message"])))
        return 200, {}, f'<{action}Response xmlns="{NAMESPACE}"><return>true</return></{action}Response>'

    responses.BaseResponse.call_action = noted

    # EC2 always says from which snapshot a volume came, if only an empty one.
    volume = elastic_block_store.Volume.__init__

    def from_snapshot(self, *args, **kwargs):
        volume(self, *args, **kwargs)
        self.snapshot_id = self.snapshot_id or ""

    elastic_block_store.Volume.__init__ = from_snapshot

    def public_is_private(self):
        if str(self.public_ip_auto_assign).lower() == "true":
            self.public_ip = self.private_ip_address

    NetworkInterface.check_auto_public_ip = public_is_private

    # EC2 takes the market from the launch template too.
    run = instances.InstanceBackend.run_instances

    def with_market(self, *args, **kwargs):
        if template := kwargs.get("launch_template"):
            kwargs["instance_market_options"] = self._get_template_from_args(template).data.get("InstanceMarketOptions")
        return run(self, *args, **kwargs)

    instances.InstanceBackend.run_instances = with_market

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_):
            pass

    application = DomainDispatcherApplication(create_backend_app)
    run_simple(args.host, args.port, application, threaded=True, request_handler=Quiet)


if __name__ == "__main__":
    main()
