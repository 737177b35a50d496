import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import spot_watcher

NOTICE = '{"action": "terminate", "time": "2026-11-24T12:00:00Z"}'


class Metadata:
    """The instance metadata service, version 2, on the loopback."""

    def __init__(self):
        self.notice = None
        self.code = 404
        self.token = "first"
        self.asked = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                self.answer(200 if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else 400, service.token)

            def do_GET(self):
                service.asked.append(self.path)
                if self.headers["X-aws-ec2-metadata-token"] != service.token:
                    self.answer(401, "")
                elif service.notice is None:
                    self.answer(service.code, "")
                else:
                    self.answer(200, service.notice)

            def answer(self, code, text):
                self.send_response(code)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def metadata():
    service = Metadata()
    yield service
    service.server.shutdown()
    service.server.server_close()


def test_no_notice_is_none(metadata):
    assert spot_watcher.Watcher(metadata.endpoint).notice() is None
    assert metadata.asked == ["/latest/meta-data/spot/instance-action"]


def test_a_notice_is_action_and_time(metadata):
    metadata.notice = NOTICE
    assert spot_watcher.Watcher(metadata.endpoint).notice() == ("terminate", "2026-11-24T12:00:00Z")


def test_a_token_that_is_refused_is_asked_for_anew(metadata):
    watcher = spot_watcher.Watcher(metadata.endpoint)
    assert watcher.notice() is None
    metadata.token = "second"
    metadata.notice = NOTICE
    with pytest.raises(OSError, match="401"):
        watcher.notice()
    assert watcher.notice() is not None


@pytest.mark.parametrize("notice", ["[]", '{"action": "dance"}', "not json"])
def test_what_is_no_notice_hands_nothing_back(notice):
    with pytest.raises(ValueError):
        spot_watcher.parse(notice)


def test_trouble_ends_nothing_and_is_told_once(metadata, capsys):
    metadata.code = 500
    watcher = spot_watcher.Watcher(metadata.endpoint)
    threading.Timer(0.5, lambda: setattr(metadata, "notice", NOTICE)).start()
    assert spot_watcher.watch(watcher, 0.05)[0] == "terminate"
    assert capsys.readouterr().err.count("asking on") == 1


def test_the_command_runs_once_there_is_a_notice(metadata, tmp_path):
    metadata.notice = NOTICE
    done = subprocess.run(
        [
            *(sys.executable, Path(spot_watcher.__file__), "--endpoint", metadata.endpoint, "--seconds", "0.05"),
            *("touch", tmp_path / "handed-back"),
        ],
        text=True,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "handed-back").exists()
    assert "EC2 will terminate this instance at 2026-11-24T12:00:00Z" in done.stdout
