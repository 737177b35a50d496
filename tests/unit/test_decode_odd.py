"""Files that decoders read wrong without an error: each is decoded right, or ends with its name."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from yolo.share.errors import BadImage
from yolo.vision.decode import Photo, decode_photo
from yolo.vision.listening import listen

# Beside the repository, or beside the folder of its worktrees.
SHARED = [folder / "shared" / "data" / "cases" for folder in Path(__file__).parents[3:5]]
CASES = next((folder for folder in SHARED if folder.is_dir()), SHARED[0])
HEIGHT, WIDTH = 96, 128


def picture(channels: int = 3) -> np.ndarray:
    """Smooth ramps, different in each channel; RGB order."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramps = (y * 2, x * 2 % 256, x + y, 255 - y * 2, x)
    return np.stack(ramps[:channels], axis=2).astype(np.uint8)


def photo(channels: int = 3) -> np.ndarray:
    """Something with as much detail as a photo has."""
    noise = np.random.default_rng(3).integers(0, 60, (HEIGHT, WIDTH, channels), dtype=np.uint8)
    return picture(channels) // 2 + noise


def jpeg(image: np.ndarray | None = None, *options: int) -> bytes:
    done, data = cv2.imencode(".jpg", photo() if image is None else image, options)
    assert done
    return data.tobytes()


def reason(data: bytes) -> str:
    with pytest.raises(BadImage) as error:
        decode_photo(data)
    return str(error.value)


def case(name: str) -> bytes:
    path = CASES / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path.read_bytes()


# --- JPEG ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_a_jpeg_without_its_end_marker_is_used_with_a_warning(options):
    whole = jpeg(None, *options)
    for data in (whole[:-2], whole[:-1]):
        found = decode_photo(data)
        np.testing.assert_array_equal(found.image, decode_photo(whole).image)
        assert found.warning == "the JPEG has no end-of-image marker, though all of its pixels are there"


def test_what_is_behind_the_pixels_of_a_jpeg_without_an_end_marker_does_no_harm():
    trailer = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8).tobytes().replace(b"\xff\xd9", b"")
    found = decode_photo(jpeg()[:-2] + b"\0\0" + trailer)
    np.testing.assert_array_equal(found.image, decode_photo(jpeg()).image)
    assert "no end-of-image marker" in found.warning


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_jpeg_that_was_cut_says_how_much_is_missing(end):
    data = jpeg()
    text = reason(data[: len(data) // 2] + end)
    assert text.startswith("truncated JPEG: ")
    assert text.endswith(f"rows of its {HEIGHT} rows") or text.endswith(f"of its {HEIGHT} rows")
    assert 35 <= int(text.split("%")[0].split()[-1]) <= 60


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_progressive_jpeg_that_was_cut(end):
    data = jpeg(None, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert reason(data[: len(data) // 2] + end).startswith("truncated JPEG: its data ends before its pixels")


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_jpeg_with_zeros_to_its_end(end):
    data = jpeg()
    text = reason(data[: len(data) // 2] + bytes(len(data) // 2) + end)
    assert text.startswith("corrupt JPEG: ")
    assert "are zeros (an interrupted download or copy)" in text


def test_zeros_behind_all_pixels_are_no_damage():
    data = jpeg()
    found = decode_photo(data[:-2] + bytes(500) + data[-2:])
    np.testing.assert_array_equal(found.image, decode_photo(data).image)
    assert found.warning == "the JPEG has superfluous bytes after its pixels"


def test_a_flat_jpeg_whose_data_are_mostly_zeros_is_whole():
    flat = jpeg(np.full((800, 800, 3), 128, np.uint8), cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    assert bytes(64) in flat
    assert decode_photo(flat).warning is None


def test_two_jpegs_in_one_file():
    data = jpeg()
    assert reason(data[: len(data) // 3] + data).startswith("truncated JPEG: ")


def test_a_jpeg_of_a_wrong_profile_is_still_listened_to():
    data = jpeg()
    profile = b"ICC_PROFILE\0\7\1broken"
    odd = data[:2] + b"\xff\xe0\0\x10JFIF\0\7\1\0\0\1\0\1\0\0" + data[20:]
    odd = odd[:20] + b"\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile + odd[20:]
    assert isinstance(decode_photo(odd), Photo)
    assert reason(odd[: len(odd) // 2] + b"\xff\xd9").startswith("truncated JPEG: ")


@pytest.mark.parametrize(("limit", "scale"), [(WIDTH * HEIGHT - 1, 2), (WIDTH * HEIGHT // 5, 4), (200, 8)])
@pytest.mark.parametrize("cut", [False, True])
def test_a_jpeg_of_too_many_pixels_is_scaled_down_by_its_decoder(limit, scale, cut):
    data = jpeg(picture())
    if cut:
        with pytest.raises(BadImage, match="truncated JPEG: "):
            decode_photo(data[: len(data) // 2], max_pixels=limit)
        return
    found = decode_photo(data, max_pixels=limit)
    assert found.image.shape == (HEIGHT // scale, WIDTH // scale, 3)
    assert found.size == (WIDTH, HEIGHT)
    assert found.warning == f"{WIDTH}x{HEIGHT} pixels: detected and drawn at 1/{scale} of its size"


def test_a_jpeg_of_far_too_many_pixels_is_named():
    with pytest.raises(BadImage, match=r"too large: 128x96 is 0\.0 megapixels"):
        decode_photo(jpeg(), max_pixels=100)


def test_another_threads_words_are_passed_on(capfd):
    with listen() as heard:
        os.write(2, b"a line of someone else\nCorrupt JPEG data: bad Huffman code\n")
    assert heard == ["Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "a line of someone else\n"


# --- TIFF ------------------------------------------------------------------------------------------------


def pack_bits(data: bytes) -> bytes:
    """Literal runs only."""
    return b"".join(bytes([len(part) - 1]) + part for i in range(0, len(data), 128) if (part := data[i : i + 128]))


PACKERS = {1: bytes, 8: zlib.compress, 32773: pack_bits}


def tiff(
    samples: np.ndarray,
    *,
    order: str = "<",
    compression: int = 1,
    planar: bool = False,
    tile: int = 0,
    photometric: int | None = None,
    predictor: int = 1,
    extra: dict[int, int] | None = None,
    damage=lambda segments: segments,
) -> bytes:
    """Write a TIFF of (height, width, channels) in segments of 16 rows, or in square tiles."""
    height, width, channels = samples.shape
    values = samples.astype(samples.dtype.newbyteorder(order))
    rows, columns = (tile, tile) if tile else (16, width)
    segments = []
    for plane in [values[..., i : i + 1] for i in range(channels)] if planar else [values]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                block = plane[top : top + rows, left : left + columns]
                if tile:
                    block = np.pad(block, ((0, rows - block.shape[0]), (0, columns - block.shape[1]), (0, 0)))
                if predictor == 2:
                    block = np.concatenate((block[:, :1], np.diff(block, axis=1)), axis=1)
                segments.append(PACKERS.get(compression, bytes)(block.astype(values.dtype).tobytes()))
    segments = damage(segments)
    tags = {
        256: width,
        257: height,
        258: [samples.dtype.itemsize * 8] * channels,
        259: compression,
        262: photometric if photometric is not None else (2 if channels >= 3 else 1),
        277: channels,
        284: 2 if planar else 1,
        317: predictor,
        339: [{"u": 1, "i": 2, "f": 3}[samples.dtype.kind]] * channels,
        **({322: tile, 323: tile} if tile else {278: 16}),
        **(extra or {}),
    }
    body, offsets = b"", []
    for segment in segments:
        offsets.append(8 + len(body))
        body += segment + bytes(len(segment) % 2)
    tags[324 if tile else 273] = offsets
    tags[325 if tile else 279] = [len(segment) for segment in segments]
    entries = b""
    for tag, value in sorted(tags.items()):
        many = value if isinstance(value, list) else [value]
        packed = struct.pack(f"{order}{len(many)}I", *many)
        if len(many) > 1:
            place, body = 8 + len(body), body + packed
            packed = struct.pack(order + "I", place)
        entries += struct.pack(order + "HHI", tag, 4, len(many)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    return head + body + struct.pack(order + "H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 48])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8, 32773])
def test_every_layout_of_a_tiff_is_read_right(dtype, channels, planar, tile, order, compression):
    image = picture(channels)
    values = {
        np.uint8: image,
        np.uint16: image.astype(np.uint16) * 257,
        np.float32: image.astype(np.float32) / 255,
    }[dtype]
    predictor = 2 if compression == 8 and dtype is not np.float32 and not planar else 1
    found = decode_photo(
        tiff(values, order=order, compression=compression, planar=planar, tile=tile, predictor=predictor)
    )
    expected = image[..., 2::-1] if channels >= 3 else np.repeat(image[..., :1], 3, axis=2)
    np.testing.assert_array_equal(found.image, expected)
    assert found.warning is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_is_turned_by_its_orientation(orientation, dtype):
    image = picture().astype(dtype) * (257 if dtype is np.uint16 else 1)
    found = decode_photo(tiff(image, extra={274: orientation})).image[..., ::-1]
    stored = picture()
    expected = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[orientation]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("compression", "name"),
    [
        (50002, "JPEG XL"),
        (34712, "JPEG 2000"),
        (22610, "JPEG XR"),
        (34933, "PNG"),
        (50000, "Zstandard"),
        (9, "unknown (9)"),
    ],
)
def test_a_compression_that_nothing_here_reads_is_named(compression, name):
    text = reason(tiff(picture(), compression=compression))
    assert text == f"unsupported TIFF: compression {name}; convert it to JPEG or PNG"


def zero_the_middle(segments: list[bytes]) -> list[bytes]:
    middle = segments[2]
    return [*segments[:2], middle[:20] + bytes(len(middle) - 30) + middle[-10:], *segments[3:]]


@pytest.mark.parametrize(("dtype", "photometric"), [(np.uint8, 2), (np.uint16, 2), (np.uint8, 5)])
@pytest.mark.parametrize("compression", [8, 32773])
def test_a_damaged_tiff_is_named(dtype, compression, photometric):
    image = photo(3 if photometric == 2 else 4).astype(dtype) * (257 if dtype is np.uint16 else 1)
    data = tiff(image, compression=compression, photometric=photometric, damage=zero_the_middle)
    assert reason(data).startswith("corrupt TIFF: ")


def test_a_flipped_bit_in_deflate_is_found_by_its_checksum():
    def flip(segments: list[bytes]) -> list[bytes]:
        stored = bytearray(zlib.compress(zlib.decompress(segments[1]), 0))
        stored[500] ^= 4
        return [segments[0], bytes(stored), *segments[2:]]

    assert "incorrect data check" in reason(tiff(photo(), compression=8, damage=flip))


def test_segments_that_are_missing_are_counted():
    assert "5 of the 6 strips" in reason(tiff(photo(), damage=lambda segments: segments[:-1]))


def test_damaged_lzw_is_named():
    done, data = cv2.imencode(".tif", photo(), (cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 16))
    assert done
    np.testing.assert_array_equal(decode_photo(data.tobytes()).image, photo())
    broken = bytearray(data.tobytes())
    broken[3000:5000] = bytes(2000)
    assert reason(bytes(broken)).startswith("corrupt TIFF: LZW data of segment ")


# --- what values mean -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_values_of_fewer_bits_in_16_are_used_with_a_warning(bits):
    image = (picture().astype(np.uint16) << (bits - 8)) | (1 << (bits - 8)) - 1
    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    for data in (tiff(image), png):
        found = decode_photo(data)
        np.testing.assert_array_equal(found.image, picture()[..., ::-1])
        assert found.warning == f"its 16-bit values end at {image.max()}: taken for values of {bits} bits"


def test_a_tiff_that_says_its_largest_value_is_believed():
    image = picture().astype(np.uint16) << 4
    found = decode_photo(tiff(image, extra={281: 4095}))
    np.testing.assert_array_equal(found.image, picture()[..., ::-1])
    assert found.warning is None


@pytest.mark.parametrize("scale", [1, 255])
def test_floats_of_0_to_1_and_of_0_to_255(scale):
    values = picture().astype(np.float32) / np.float32(255 / scale)
    np.testing.assert_array_equal(decode_photo(tiff(values)).image, picture()[..., ::-1])


@pytest.mark.parametrize("value", [-1, 1.5, 300, np.nan, np.inf])
def test_floats_of_which_nobody_knows_what_they_mean_are_named(value):
    values = picture().astype(np.float32) / 255
    values[5, 5] = value
    assert reason(tiff(values)).startswith("unsupported TIFF: floating-point values ")


def test_more_channels_than_colours_are_named_if_none_is_red():
    assert reason(tiff(picture(5), photometric=1)).startswith(
        "unsupported TIFF: 5 channels, and nothing says which are red, green and blue"
    )


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint32])
def test_other_samples_are_named(dtype):
    assert reason(tiff(picture().astype(dtype))).startswith("unsupported TIFF: samples are ")


# --- WebP -----------------------------------------------------------------------------------------------


def test_a_webp_with_a_block_of_zeros():
    data = bytearray(cv2.imencode(".webp", photo(), (cv2.IMWRITE_WEBP_QUALITY, 95))[1].tobytes())
    assert decode_photo(bytes(data)).image.shape == (HEIGHT, WIDTH, 3)
    data[2000:3000] = bytes(1000)
    assert reason(bytes(data)).startswith("corrupt WEBP: bytes ")


@pytest.mark.parametrize("value", [0, 77, 255])
@pytest.mark.parametrize("quality", [50, 101])
def test_a_flat_webp_is_whole(value, quality):
    data = cv2.imencode(".webp", np.full((4000, 4000, 3), value, np.uint8), (cv2.IMWRITE_WEBP_QUALITY, quality))[1]
    assert int(decode_photo(data.tobytes()).image[0, 0, 0]) == pytest.approx(value, abs=3)


# --- HEIC, AVIF and what turns them ---------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP", "PNG", "TIFF", "JPEG"])
def test_a_photo_of_any_format_is_turned_upright(kind, orientation):
    pillow = pytest.importorskip("PIL.Image", reason="files/demo/requirements.txt is not installed")
    ops = pytest.importorskip("PIL.ImageOps")
    pytest.importorskip("pillow_heif").register_heif_opener()
    # Even quarters, which every compression keeps; no two turns of them are alike.
    quarters = np.repeat(
        np.repeat(np.array([[[250, 10, 20], [10, 240, 30]], [[20, 30, 230], [200, 200, 200]]]), 48, 0), 64, 1
    )
    exif = pillow.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    options = {} if kind in ("PNG", "TIFF") else {"quality": 95}
    pillow.fromarray(quarters.astype(np.uint8)).save(buffer, kind, exif=exif.tobytes(), **options)
    buffer.seek(0)
    expected = np.asarray(ops.exif_transpose(pillow.open(buffer)).convert("RGB"))
    assert expected.shape == ((96, 128, 3) if orientation < 5 else (128, 96, 3))
    found = decode_photo(buffer.getvalue()).image[..., ::-1]
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_heic_or_avif_that_was_cut(kind, share):
    pillow = pytest.importorskip("PIL.Image", reason="files/demo/requirements.txt is not installed")
    pytest.importorskip("pillow_heif").register_heif_opener()
    buffer = io.BytesIO()
    pillow.fromarray(photo()).save(buffer, kind, quality=90)
    data = buffer.getvalue()
    found = decode_photo(data).image
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert found.flags.writeable, "boxes are drawn on it"
    assert reason(data[: int(len(data) * share)]).split()[0] in ("truncated", "corrupt")


def test_a_heic_is_named_where_its_decoder_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert reason(case("photo.heic")).startswith(
        "unsupported HEIC: this host's Python has no pillow-heif; run site.yml"
    )


def test_a_jpeg_2000_and_one_of_16_bits():
    for image, expected in ((photo(), photo()), (photo().astype(np.uint16) * 257, photo())):
        done, data = cv2.imencode(".jp2", image, (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000))
        assert done
        assert np.abs(decode_photo(data.tobytes()).image.astype(int) - expected).mean() < 3


# --- samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no_end_marker.jpg", "photo.jfif", "no_suffix"])
def test_samples_of_jpegs_that_are_the_clean_one(name):
    found = decode_photo(case(name))
    np.testing.assert_array_equal(found.image, decode_photo(case("clean.jpg")).image)
    assert ("no end-of-image marker" in (found.warning or "")) == ("no_end_marker" in name)


def test_the_sample_of_a_phone_with_a_trailer_and_no_end_marker():
    found = decode_photo(case("phone_trailer_no_end_marker.jpg"))
    assert found.image.shape == (480, 640, 3)
    assert "no end-of-image marker" in found.warning


@pytest.mark.parametrize("name", ["photo.avif", "photo.gif", "photo.mpo", "photo.heic", "heic_named.jpg"])
def test_samples_in_other_formats(name):
    clean = decode_photo(case("clean.jpg")).image
    if "heic" in name:
        pytest.importorskip("pillow_heif")
    found = decode_photo(case(name)).image
    assert found.shape == clean.shape
    assert np.abs(found.astype(int) - clean).mean() < 12


@pytest.mark.parametrize("name", ["street_planar16_lzw.tif", "street_12_of_16_bit.png"])
def test_samples_of_the_street(name):
    clean = decode_photo(case("street_clean.png")).image
    assert np.abs(decode_photo(case(name)).image.astype(int) - clean).max() <= 1


def test_the_sample_of_a_turned_jpeg_under_another_suffix():
    assert decode_photo(case("turned_jpeg_named.tif")).image.shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("damaged_zeros_to_end.jpg", "corrupt JPEG: 50% of its pixels are missing"),
        ("damaged.webp", "corrupt WEBP: "),
        ("damaged_lzw.tif", "corrupt TIFF: LZW data of segment 6 of 10"),
        ("damaged_deflate.tif", "corrupt TIFF: segment 6 of 10"),
        ("street_jpegxl_compression.tif", "unsupported TIFF: compression JPEG XL"),
    ],
)
def test_samples_that_are_damaged_or_can_not_be_read(name, text):
    assert reason(case(name)).startswith(text)
