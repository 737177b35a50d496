import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from yolo.request import weights
from yolo.share.errors import YoloError

PT = b"PK\x03\x04 a checkpoint"
ONNX = b"\x08\x09\x12\x07pytorch"


@pytest.fixture
def server():
    """A web server with files in ``pages``: path to (status, length to declare, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            self.server.ranges.append(self.headers["Range"])
            status, length, body = self.server.pages.get(self.path, (404, 9, b"not found"))
            if self.headers["Range"] and self.headers["If-Range"] == self.server.tag:
                start = int(self.headers["Range"][len("bytes=") : -1])
                status, length, body = 206, length - start, body[start:]
            self.send_response(status)
            if self.server.tag:
                self.send_header("ETag", self.server.tag)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.pages, httpd.asked, httpd.ranges, httpd.tag = {}, [], [], None
        httpd.url = f"http://127.0.0.1:{httpd.server_port}/r"
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield httpd
        httpd.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def release(server, file, body=PT, length=None):
    server.pages[f"/r/{file}"] = (200, len(body) if length is None else length, body)


def left(cache):
    return sorted(p.name for p in cache.glob("*")) if cache.exists() else []


def openvino(folder, xml="model.xml", binary="model.bin", metadata=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / xml).write_text("<net/>")
    if binary:
        (folder / binary).write_bytes(b"\0\1")
    if metadata:
        (folder / "metadata.yaml").write_text(metadata)
    return folder


def test_a_path_is_shown_as_it_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(YoloError) as error:
        weights.resolve("./w.pt", tmp_path)
    assert f"no such weights: {tmp_path}/w.pt; expected" in str(error.value)


def test_an_unknown_value_lists_what_is_expected(tmp_path):
    with pytest.raises(YoloError) as error:
        weights.resolve("yolov9z", tmp_path)
    assert "no such weights: yolov9z; expected the path of a .pt" in str(error.value)
    assert "yolov5s" in str(error.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yolov5n", "yolov5n.pt"),
        ("yolov5s", "yolov5s.pt"),
        ("yolov5su", "yolov5su.pt"),
        ("yolov5x6", "yolov5x6.pt"),
        ("yolov5m6u", "yolov5m6u.pt"),
        ("yolov5l.pt", "yolov5l.pt"),
    ],
)
def test_a_released_name_is_fetched_once(tmp_path, server, monkeypatch, name, file):
    monkeypatch.setattr(weights, "PUBLISHED_SHA256", {})
    release(server, file)
    found = weights.resolve(name, tmp_path / "cache", server.url)
    again = weights.resolve(name, tmp_path / "cache", server.url + "/")
    assert found == again
    assert server.asked == [f"/r/{file}"]
    assert found.path == str(tmp_path / "cache" / file)
    assert found.kind == "pt"
    assert found.sha256 == hashlib.sha256(PT).hexdigest()
    assert found.weights_id == found.sha256[:16]
    assert found.files == (file,)
    assert left(tmp_path / "cache") == ["checksums.json", file]
    recorded = json.loads((tmp_path / "cache" / "checksums.json").read_text())
    assert recorded == {file: found.sha256}


def test_there_are_twenty_names_for_twenty_files():
    assert len(weights.RELEASED) == 20
    assert len(set(weights.RELEASED.values())) == 20


def test_a_cached_file_that_changed_is_refused(tmp_path, server):
    release(server, "yolov5su.pt")
    weights.resolve("yolov5su", tmp_path, server.url)
    (tmp_path / "yolov5su.pt").write_bytes(PT + b"!")
    with pytest.raises(YoloError, match=r"have changed.*recorded in .*checksums\.json.*remove"):
        weights.resolve("yolov5su", tmp_path, server.url)


def test_a_release_that_changed_is_refused_and_not_kept(tmp_path, server):
    release(server, "yolov5su.pt")
    weights.resolve("yolov5su", tmp_path, server.url)
    (tmp_path / "yolov5su.pt").unlink()
    release(server, "yolov5su.pt", PT + b"!")
    with pytest.raises(YoloError, match="wrong checksum"):
        weights.resolve("yolov5su", tmp_path, server.url)
    assert left(tmp_path) == ["checksums.json"]


def test_a_published_checksum_counts_more_than_the_recorded_one(tmp_path, server, monkeypatch):
    release(server, "yolov5su.pt")
    weights.resolve("yolov5su", tmp_path, server.url)
    monkeypatch.setitem(weights.PUBLISHED_SHA256, "yolov5su.pt", "0" * 64)
    with pytest.raises(YoloError, match="0000, published"):
        weights.resolve("yolov5su", tmp_path, server.url)


def test_published_checksums_are_checksums_of_released_files():
    for file, checksum in weights.PUBLISHED_SHA256.items():
        assert file in weights.RELEASED.values()
        assert len(bytes.fromhex(checksum)) == 32


def test_a_file_put_into_the_cache_by_hand_is_taken_and_recorded(tmp_path):
    (tmp_path / "yolov5su.pt").write_bytes(PT)
    found = weights.resolve("yolov5su", tmp_path, "http://127.0.0.1:9/none")
    assert json.loads((tmp_path / "checksums.json").read_text()) == {"yolov5su.pt": found.sha256}


def test_a_release_that_is_not_there_says_its_url_and_the_remedy(tmp_path, server):
    with pytest.raises(YoloError) as error:
        weights.resolve("yolov5su", tmp_path, server.url)
    message = str(error.value)
    assert f"HTTP 404 Not Found): {server.url}/yolov5su.pt" in message
    assert "fetch it by hand and give its path: -e weights=/path/to/yolov5su.pt" in message
    assert left(tmp_path) == []


def test_no_network_says_the_url_and_the_remedy(tmp_path):
    with pytest.raises(YoloError, match=r"refused.*127\.0\.0\.1:9/x/yolov5su\.pt; fetch it by"):
        weights.resolve("yolov5su", tmp_path, "http://127.0.0.1:9/x")


def test_a_base_url_that_is_none_is_named(tmp_path):
    with pytest.raises(YoloError, match=r"can't fetch the weights.*nonsense://x/yolov5su\.pt"):
        weights.resolve("yolov5su", tmp_path, "nonsense://x")


def test_a_transfer_that_broke_leaves_nothing(tmp_path, server):
    release(server, "yolov5su.pt", PT, length=len(PT) + 5)
    with pytest.raises(YoloError, match=f"{len(PT)} bytes; expected {len(PT) + 5} bytes"):
        weights.resolve("yolov5su", tmp_path, server.url)
    assert left(tmp_path) == []


def test_a_transfer_that_broke_goes_on_where_it_stopped(tmp_path, server):
    server.tag = '"1"'
    body = bytes(range(256)) * 20
    server.pages["/r/yolov5su.pt"] = (200, len(PT + body), (PT + body)[:1000])
    with pytest.raises(YoloError, match="1000 bytes; expected"):
        weights.resolve("yolov5su", tmp_path, server.url)
    assert left(tmp_path) == ["yolov5su.pt.part", "yolov5su.pt.part.etag"]
    release(server, "yolov5su.pt", PT + body)
    told = []
    found = weights.resolve("yolov5su", tmp_path, server.url, progress=lambda here, total: told.append((here, total)))
    assert found.sha256 == hashlib.sha256(PT + body).hexdigest()
    assert told == [(len(PT + body), len(PT + body))]
    assert server.ranges == [None, "bytes=1000-"]
    assert left(tmp_path) == ["checksums.json", "yolov5su.pt"]


def test_a_transfer_of_another_file_starts_anew(tmp_path, server):
    server.tag = '"1"'
    server.pages["/r/yolov5su.pt"] = (200, 2000, PT * 10)
    with pytest.raises(YoloError, match="expected 2000 bytes"):
        weights.resolve("yolov5su", tmp_path, server.url)
    server.tag = '"2"'
    release(server, "yolov5su.pt", PT + b"another")
    found = weights.resolve("yolov5su", tmp_path, server.url)
    assert found.sha256 == hashlib.sha256(PT + b"another").hexdigest()


@pytest.mark.parametrize("whole", [True, False])
def test_released_weights_from_a_folder_or_a_file(tmp_path, whole):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "yolov5su.pt").write_bytes(PT)
    url = str(tmp_path / "mirror") + ("" if whole else "/yolov5su.pt")
    found = weights.resolve("yolov5su", tmp_path / "cache", url)
    assert found.sha256 == hashlib.sha256(PT).hexdigest()
    assert left(tmp_path / "cache") == ["checksums.json", "yolov5su.pt"]
    with pytest.raises(YoloError, match=r"no such weights: .*/yolov5n6\.pt; expected https"):
        weights.resolve("yolov5n6", tmp_path / "cache", str(tmp_path / "mirror"))


def test_released_weights_from_s3(tmp_path, monkeypatch):
    client = tmp_path / "bin" / "aws"
    client.parent.mkdir()
    client.write_text('#!/bin/sh\n[ "$5" = "" ] && exit 9\nprintf \'%s\' "$4" > "$5"\n')
    client.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(client.with_name("python")))
    path = weights.fetch("yolov5su.pt", tmp_path / "cache", "s3://bucket/w")
    assert path.read_text() == "s3://bucket/w/yolov5su.pt"
    client.write_text("#!/bin/sh\necho 'An error occurred (404)\nNot Found' >&2\nexit 1\n")
    with pytest.raises(YoloError, match=r"\(An error occurred \(404\) Not Found\): s3://bucket/w/yolov5n6\.pt;"):
        weights.fetch("yolov5n6.pt", tmp_path / "cache", "s3://bucket/w")
    assert left(tmp_path / "cache") == ["checksums.json", "yolov5su.pt"]


def test_each_project_has_its_own_release(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(weights, "fetch_file", lambda url, *_: asked.append(url) or "0" * 64)
    for file in ("yolov5s6.pt", "yolov5s6u.pt"):
        weights.fetch(file, tmp_path)
    assert asked == [f"{weights.CLASSIC_URL}/yolov5s6.pt", f"{weights.PACKAGE_URL}/yolov5s6u.pt"]
    assert "/ultralytics/yolov5/releases/download/v7.0" in asked[0]


def test_an_error_page_instead_of_weights_is_refused(tmp_path, server):
    release(server, "yolov5su.pt", b"<html>please log in</html>")
    with pytest.raises(YoloError, match=r"holds no pt model.*<html>"):
        weights.resolve("yolov5su", tmp_path, server.url)


def test_recorded_checksums_that_are_damaged_are_named(tmp_path, server):
    release(server, "yolov5su.pt")
    for text in ("{", "[]"):
        (tmp_path / "checksums.json").write_text(text)
        with pytest.raises(YoloError, match=r"checksums\.json.*remove that file"):
            weights.resolve("yolov5su", tmp_path, server.url)


@pytest.mark.parametrize(("name", "data"), [("a.pt", PT), ("a.pt", b"\x80\x02old"), ("A.ONNX", ONNX)])
def test_a_file_of_the_users(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    found = weights.resolve(str(tmp_path / name), tmp_path / "cache")
    assert found.kind == name.lower().rpartition(".")[2]
    assert (found.path, found.name, found.files) == (str(tmp_path / name), name, (name,))
    assert found.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("a.pt", b"", "holds no pt model"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1", "holds no pt model"),
        ("a.onnx", b"", "holds no onnx model"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1", "holds no onnx model"),
        ("a.onnx", b"\n<html>", "holds no onnx model"),
        ("a.h5", b"x", "not a weights file"),
        ("model.xml", b"<net/>", "not a weights file"),
    ],
)
def test_a_file_that_holds_no_model_is_refused(tmp_path, name, data, match):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(YoloError, match=match):
        weights.resolve(str(tmp_path / name), tmp_path / "cache")


def with_data(path, location):
    """Write an ONNX file with an initializer whose values are elsewhere."""
    values = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    values.ClearField("raw_data")
    values.data_location = TensorProto.EXTERNAL
    entry = values.external_data.add()
    entry.key, entry.value = "location", location
    graph = helper.make_graph([], "g", [], [], [values])
    path.write_bytes(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize("name", ["best.onnx.data", "d" * 100 + "/" + "e" * 100])
def test_external_data_of_an_onnx_file_go_with_it(tmp_path, name):
    with_data(tmp_path / "best.onnx", name)
    with pytest.raises(YoloError, match=f"lacks its data: best.onnx needs {name}; expected that file beside it"):
        weights.resolve(str(tmp_path / "best.onnx"), tmp_path / "cache")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(bytes(64))
    found = weights.resolve(str(tmp_path / "best.onnx"), tmp_path / "cache")
    assert found.files == ("best.onnx", name)
    (tmp_path / name).write_bytes(bytes(63) + b"1")
    assert weights.resolve(str(tmp_path / "best.onnx"), tmp_path / "cache").sha256 != found.sha256


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link"])
def test_external_data_outside_of_the_folder_are_refused(tmp_path, name):
    folder = tmp_path / "w"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    with_data(folder / "best.onnx", name)
    with pytest.raises(YoloError, match=f"has data outside of its folder: best.onnx: {name}; expected"):
        weights.resolve(str(folder / "best.onnx"), tmp_path / "cache")


def test_a_file_of_the_users_comes_before_a_name_with_its_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("yolov5s.pt").write_bytes(PT)
    found = weights.resolve("yolov5s.pt", tmp_path / "cache", "http://127.0.0.1:9/none")
    assert found.path == str(tmp_path / "yolov5s.pt")


def test_an_openvino_folder(tmp_path):
    folder = openvino(tmp_path / "yolo_openvino_model", metadata="names: {}")
    (folder / "notes.txt").write_text("x")
    found = weights.resolve(f"{folder}/", tmp_path / "cache")
    assert found.kind == "openvino"
    assert found.name == "yolo_openvino_model"
    assert found.files == ("metadata.yaml", "model.bin", "model.xml")
    assert found.path == str(folder)


@pytest.mark.parametrize("name", ["model.bin", "metadata.yaml"])
def test_a_link_that_leads_out_of_an_openvino_folder_is_refused(tmp_path, name):
    folder = openvino(tmp_path / "model", metadata="names: {}")
    secret = tmp_path / "id_ed25519"
    secret.write_text("secret")
    (folder / name).unlink()
    (folder / name).symlink_to(secret)
    with pytest.raises(YoloError, match=rf"a link that leads out of it: .*/{name}; .*cp -rL"):
        weights.resolve(str(folder), tmp_path / "cache")
    # Within it they are as good as files, and the folder itself may be reached by one.
    (folder / "real").write_bytes(b"x")
    (folder / name).unlink()
    (folder / name).symlink_to("real")
    (tmp_path / "link").symlink_to(folder)
    assert weights.resolve(str(tmp_path / "link"), tmp_path / "cache").kind == "openvino"


def test_a_folder_is_named_by_the_content_of_its_model_only(tmp_path):
    first = weights.resolve(str(openvino(tmp_path / "a")), tmp_path)
    second = weights.resolve(str(openvino(tmp_path / "b")), tmp_path)
    assert first.sha256 == second.sha256
    (tmp_path / "b" / "notes.txt").write_text("x")
    assert weights.resolve(str(tmp_path / "b"), tmp_path).sha256 == first.sha256
    (tmp_path / "b" / "model.bin").write_bytes(b"\0\2")
    assert weights.resolve(str(tmp_path / "b"), tmp_path).sha256 != first.sha256
    renamed = openvino(tmp_path / "d", xml="net.xml", binary="net.bin")
    assert weights.resolve(str(renamed), tmp_path).sha256 != first.sha256
    metadata = openvino(tmp_path / "c", metadata="names: {}")
    assert weights.resolve(str(metadata), tmp_path).sha256 != first.sha256


def test_what_moves_between_two_files_of_a_folder_changes_its_name(tmp_path):
    first = openvino(tmp_path / "a")
    second = openvino(tmp_path / "b")
    (second / "model.xml").write_bytes((first / "model.bin").read_bytes())
    (second / "model.bin").write_bytes((first / "model.xml").read_bytes())
    ids = {weights.resolve(str(folder), tmp_path).weights_id for folder in (first, second)}
    assert len(ids) == 2


def test_a_folder_without_a_model_or_with_two_is_refused(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(YoloError, match=r"holds 0 \.xml files"):
        weights.resolve(str(tmp_path / "none"), tmp_path)
    openvino(tmp_path / "two")
    openvino(tmp_path / "two", xml="other.xml")
    with pytest.raises(YoloError, match=r"holds 2 \.xml files"):
        weights.resolve(str(tmp_path / "two"), tmp_path)
    with pytest.raises(YoloError, match=r"lacks model\.bin"):
        weights.resolve(str(openvino(tmp_path / "half", binary=None)), tmp_path)


def test_the_demo_weights(tmp_path):
    (tmp_path / "demo.pt").write_bytes(PT)
    found = weights.resolve("demo", tmp_path, demo=tmp_path / "demo.pt")
    assert (found.kind, found.name, found.files) == ("pt", "demo", ("demo.pt",))
    with pytest.raises(YoloError, match=r"demo weights are not there.*git checkout"):
        weights.resolve("demo", tmp_path, demo=tmp_path / "gone.pt")


def test_the_demo_weights_say_at_which_confidence_they_do_best(tmp_path):
    (tmp_path / "demo.pt").write_bytes(PT)
    card = tmp_path / "demo.json"
    assert weights.resolve("demo", tmp_path, demo=tmp_path / "demo.pt").conf is None
    card.write_text('{"conf": 0.42, "iou": 0.7}')
    assert weights.resolve("demo", tmp_path, demo=tmp_path / "demo.pt").conf == 0.42
    # The same file under its own name is anybody's weights.
    assert weights.resolve(str(tmp_path / "demo.pt"), tmp_path, demo=tmp_path / "demo.pt").conf is None
    card.write_text("{")
    with pytest.raises(YoloError, match=r"description can't be read.*demo\.json; expected JSON; restore it"):
        weights.resolve("demo", tmp_path, demo=tmp_path / "demo.pt")


def test_the_real_demo_weights_come_with_their_confidence(tmp_path):
    found = weights.resolve("demo", tmp_path)
    card = json.loads(weights.DEMO.with_suffix(".json").read_text())
    assert found.conf == card["conf"] == 0.42
    assert found.sha256 == card["sha256"]


def test_the_demo_weights_have_their_place_beside_the_package():
    assert Path(weights.__file__).parents[2] / "demo" / "yolov5n-demo.pt" == weights.DEMO
