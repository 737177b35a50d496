import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from yolo.share.errors import BadImage
from yolo.share.file_kind import describe_bytes
from yolo.vision.decode import decode_image, read_file, read_image

HEIGHT, WIDTH = 40, 60
LOSSLESS = (".png", ".bmp", ".tif", ".webp")


def picture() -> np.ndarray:
    """Four even quarters of different colours: they survive JPEG, and show any turn or swap of channels."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:20, :30] = (250, 10, 20)
    image[:20, 30:] = (10, 240, 30)
    image[20:, :30] = (20, 30, 230)
    image[20:, 30:] = (200, 200, 200)
    return image


def encode(suffix: str, image: np.ndarray | None = None, *options: int) -> bytes:
    if suffix == ".webp":
        options = (cv2.IMWRITE_WEBP_QUALITY, 101)  # lossless
    done, data = cv2.imencode(suffix, picture() if image is None else image, options)
    assert done
    return data.tobytes()


def segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_orientation(jpeg: bytes, orientation: int, thumbnail: bytes = b"") -> bytes:
    """Put an EXIF segment behind the JPEG's first marker."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", 1) + entry + struct.pack(">I", 0)
    return jpeg[:2] + segment(0xE1, b"Exif\0\0" + tiff + thumbnail) + jpeg[2:]


def tiff(image: np.ndarray, *, order: str = "<", photometric: int = 2, claim: tuple[int, int] | None = None) -> bytes:
    """Write an uncompressed TIFF of one strip with any number of channels of any type.

    Args:
        image: (height, width) or (height, width, channels), RGB.
        order: Of the bytes, as in ``struct``.
        photometric: 1 grey, 2 RGB, 5 CMYK.
        claim: (width, height) to put into the header instead of the true ones.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    width, height = claim or (image.shape[1], image.shape[0])
    pixels = image.astype(image.dtype.newbyteorder(order)).tobytes()
    bits = struct.pack(f"{order}{channels}H", *[image.dtype.itemsize * 8] * channels)
    sample = {"u": 1, "f": 3}[image.dtype.kind]
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, None),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
        (284, 3, 1, 1),
        (339, 3, 1, sample),
    ]
    if channels == 4 and photometric == 2:
        entries.append((338, 3, 1, 2))
    entries.sort()
    directory = 8 + len(pixels)
    extra = directory + 2 + 12 * len(entries) + 4
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        if value is None:
            packed = bits.ljust(4, b"\0") if len(bits) <= 4 else struct.pack(order + "I", extra)
        else:
            packed = struct.pack(order + ("I" if kind == 4 else "H"), value).ljust(4, b"\0")
        body += struct.pack(order + "HHI", tag, kind, count) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", directory)
    return head + pixels + body + struct.pack(order + "I", 0) + (bits if len(bits) > 4 else b"")


def reason(data: bytes, **limits: int) -> str:
    with pytest.raises(BadImage) as error:
        decode_image(data, **limits)
    text = str(error.value)
    assert text.isprintable()
    return text


# --- good pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_pixels_come_as_bgr_just_as_they_were_stored(suffix):
    found = decode_image(encode(suffix))
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, picture())


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_a_jpeg_comes_as_bgr(options):
    found = decode_image(encode(".jpg", None, *options))
    assert np.abs(found.astype(int) - picture())[5:15, 5:25].max() < 12
    assert found.shape == (HEIGHT, WIDTH, 3)


def test_what_counts_is_the_content_since_no_name_is_asked_for():
    np.testing.assert_array_equal(decode_image(encode(".png")), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_by_its_exif_orientation(orientation):
    upright = picture()
    # What a camera stores for a picture that has to be turned like this.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    jpeg = encode(".jpg", np.ascontiguousarray(stored))
    found = decode_image(with_orientation(jpeg, orientation))
    assert found.shape == upright.shape
    # Away from the edges of the quarters, where JPEG smears.
    for rows, columns in ((slice(3, 17), slice(3, 27)), (slice(23, 37), slice(33, 57)), (slice(3, 17), slice(33, 57))):
        assert np.abs(found.astype(int) - upright)[rows, columns].max() < 12


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp", ".webp"])
def test_grey_becomes_three_equal_channels(suffix):
    grey = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None], HEIGHT, axis=0)
    found = decode_image(encode(suffix, grey))
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(found.astype(int) - grey[..., None]).max() <= 3
    assert (found[..., 0] == found[..., 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_an_alpha_channel_is_left_out(suffix):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:10] = 128
    image = np.concatenate((picture(), alpha), axis=2)
    np.testing.assert_array_equal(decode_image(encode(suffix, image)), picture())


def test_the_colours_behind_full_transparency_are_kept_in_a_png():
    image = np.concatenate((picture(), np.zeros((HEIGHT, WIDTH, 1), np.uint8)), axis=2)
    np.testing.assert_array_equal(decode_image(encode(".png", image)), picture())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_of_16_bits_the_upper_8_are_taken(suffix):
    image = picture().astype(np.uint16) * 256 + 200
    np.testing.assert_array_equal(decode_image(encode(suffix, image)), picture())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_16_bits(suffix):
    grey = np.full((HEIGHT, WIDTH), 0x7B90, np.uint16)
    assert np.unique(decode_image(encode(suffix, grey))).tolist() == [0x7B]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_either_byte_order(order):
    np.testing.assert_array_equal(decode_image(tiff(picture()[..., ::-1], order=order)), picture())


def test_a_tiff_in_cmyk_is_used():
    cmyk = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    cmyk[..., 0] = 255
    assert decode_image(tiff(cmyk, photometric=5)).shape == (HEIGHT, WIDTH, 3)


def test_a_jpeg_in_cmyk_is_used():
    image = pytest.importorskip("PIL.Image", reason="files/demo/requirements.txt is not installed")
    buffer = io.BytesIO()
    # Cyan takes all red away.
    image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0)).save(buffer, "JPEG")
    found = decode_image(buffer.getvalue())
    assert found.shape == (HEIGHT, WIDTH, 3)
    blue, green, red = found[20, 30].astype(int)
    assert red < 40 < 150 < min(blue, green)


def test_of_a_tiff_with_several_pages_the_first_is_used():
    pages = [picture(), picture()[::-1].copy()]
    done, data = cv2.imencodemulti(".tif", pages)
    assert done
    np.testing.assert_array_equal(decode_image(data.tobytes()), picture())


def test_a_picture_of_one_pixel():
    assert decode_image(encode(".png", np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


# --- bad files ----------------------------------------------------------------------------------------


def test_an_empty_file():
    assert reason(b"") == "empty: the file has zero bytes"


@pytest.mark.parametrize("suffix", [".jpg", *LOSSLESS])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_named_so(suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    data = encode(suffix, noise)
    text = reason(data[: int(len(data) * share)])
    kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper())
    assert text.startswith(f"truncated {kind}: ")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp"])
def test_a_file_that_lacks_its_last_byte_is_truncated(suffix):
    assert reason(encode(suffix)[:-1]).startswith("truncated ")


def test_a_jpeg_cut_after_its_thumbnail_is_truncated_although_the_thumbnail_ends_well():
    data = with_orientation(encode(".jpg"), 1, thumbnail=encode(".jpg", picture()[:8, :8]))
    assert decode_image(data).shape == (HEIGHT, WIDTH, 3)
    assert reason(data[:-40]).startswith("truncated JPEG: ")


def test_what_follows_the_end_of_a_jpeg_does_no_harm():
    data = encode(".jpg")
    np.testing.assert_array_equal(decode_image(data + b"\0" * 100), decode_image(data))


def test_a_jpeg_without_pixels():
    assert reason(b"\xff\xd8" + segment(0xE0, b"JFIF\0") + b"\xff\xd9") == "corrupt JPEG: it has no pixels"


def test_a_png_says_which_part_is_cut():
    data = encode(".png")
    text = reason(data[: data.index(b"IDAT") + 20])
    assert text.startswith("truncated PNG: its IDAT chunk needs ")


def test_a_tiff_whose_pixels_lie_behind_its_end():
    data = tiff(picture())
    strip = struct.pack("<HHII", 273, 4, 1, 8)
    text = reason(data.replace(strip, struct.pack("<HHII", 273, 4, 1, len(data) - 100)))
    assert text == f"truncated TIFF: its directory needs {len(data) - 100 + 7200} bytes, the file has {len(data)}"


def test_a_png_with_a_flipped_bit():
    data = bytearray(encode(".png"))
    data[data.index(b"IDAT") + 10] ^= 1
    assert reason(bytes(data)) == "corrupt PNG: wrong checksum of its IDAT chunk"


def test_a_png_with_a_flipped_bit_in_a_comment_is_used():
    data = encode(".png")
    end = data.index(b"IHDR") + 4 + 13 + 4
    comment = struct.pack(">I4s", 3, b"tEXt") + b"a\0b" + b"\0\0\0\0"
    np.testing.assert_array_equal(decode_image(data[:end] + comment + data[end:]), picture())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"these are no pixels\n", "not an image: text"),
        ("Übersicht der Fotos\n".encode(), "not an image: text"),
        (b"<!DOCTYPE html><html>", "not an image: an HTML page (a download that went wrong?)"),
        (b"\0" * 600, "not an image: zeros (an interrupted download or copy)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an image: a Git LFS pointer"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "not an image: a HEIF picture of unknown coding; convert it to JPEG"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not an image: a sound file (WAV)"),
        (b"ID3\x04\0\0", "not an image: a sound file (MP3)"),
        (b"\xff\xfb\x90\x64\0\0", "not an image: a sound file (MP3 or AAC)"),
        (b"\xff\xf1\x50\x80\0\0", "not an image: a sound file (MP3 or AAC)"),
        (b"fLaC\0\0\0\x22", "not an image: a sound file (FLAC)"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "not an image: a sound file (M4A)"),
        (b"OggS\0\2\0\0", "not an image: a sound or video file (Ogg)"),
        (b"P1 is a plan, not a picture", "not an image: text"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "not an image: an MP4 or QuickTime video"),
        (b"<svg xmlns=''>", "not an image: an SVG drawing; convert it to PNG"),
        (b"%PDF-1.7", "not an image: a PDF document"),
        (b"\x00\x05\x16\x07\0\2", "not an image: macOS metadata"),
        (b"\x01\x02\x03\x04\xff\xfe", "not an image: unknown content that starts with 01 02 03 04"),
        (b"BMW is a make of cars, not a picture", "not an image: text"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(data, text):
    assert reason(data).startswith(text)


def test_text_in_a_foreign_alphabet_cut_in_the_middle_of_a_letter_is_still_text():
    assert describe_bytes("歩".encode() * 300) == "text"
    assert describe_bytes(b"caf\xe9 in Latin-1, and more").startswith("unknown content")


# --- size -----------------------------------------------------------------------------------------------


def claim(suffix: str, width: int, height: int) -> bytes:
    """A small file whose header claims a huge picture."""
    data = bytearray(encode(suffix))
    if suffix == ".jpg":
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">HH", height, width)
    elif suffix == ".png":
        place = data.index(b"IHDR") + 4
        data[place : place + 8] = struct.pack(">II", width, height)
        data[place + 13 : place + 17] = struct.pack(">I", zlib.crc32(data[place - 4 : place + 13]))
    elif suffix == ".tif":
        return tiff(picture(), claim=(width, height))
    elif suffix == ".webp":
        place = data.index(b"VP8L") + 9
        data[place : place + 4] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(data)


@pytest.mark.parametrize(
    ("suffix", "width", "height"),
    [(".png", 100_000, 100_000), (".tif", 100_000, 100_000), (".webp", 16000, 16000)],
)
def test_a_small_file_that_claims_a_huge_picture_is_not_decoded(suffix, width, height):
    text = reason(claim(suffix, width, height))
    assert text.startswith(f"too large: {width}x{height} is {width * height / 1e6:.1f} megapixels, the limit is 100")


@pytest.mark.parametrize("suffix", [".jpg", *LOSSLESS])
def test_the_limit_is_one_of_pixels_and_is_inclusive(suffix):
    data = encode(suffix)
    assert decode_image(data, max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
    if suffix == ".jpg":
        data = encode(suffix, None, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert reason(data, max_pixels=WIDTH * HEIGHT - 1).startswith("too large: 60x40 is 0.0 megapixels")


def test_a_bmp_claims_more_than_it_holds():
    data = bytearray(encode(".bmp"))
    data[18:26] = struct.pack("<ii", 2000, 2000)
    assert reason(bytes(data)).startswith("truncated BMP: 2000x2000 needs 12000054 bytes, it has ")


def test_a_bmp_from_top_to_bottom_has_a_negative_height():
    data = bytearray(encode(".bmp"))
    data[22:26] = struct.pack("<i", -HEIGHT)
    np.testing.assert_array_equal(decode_image(bytes(data)), picture()[::-1])
    assert reason(bytes(data[:-1])).startswith("truncated BMP: 60x40 needs")


def test_a_tiff_whose_directory_lies_past_every_address():
    assert reason(b"II+\0\x08\0\0\0" + b"\xff" * 8) == "truncated TIFF: it ends inside its header"


def test_a_tiff_whose_directories_run_in_a_circle():
    data = bytearray(tiff(picture()[..., ::-1]))
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * entries, directory)
    np.testing.assert_array_equal(decode_image(bytes(data)), picture())


def test_whatever_a_file_holds_the_answer_is_a_picture_or_a_reason():
    random = np.random.default_rng(7)
    big_tiff = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1) + struct.pack("<HHQQ", 256, 4, 1, 5) + bytes(8)
    files = [encode(suffix) for suffix in (".jpg", ".gif", *LOSSLESS)] + [big_tiff]
    outcomes = {"picture": 0, "reason": 0}
    for _ in range(1500):
        data = bytearray(files[random.integers(len(files))])
        start = random.integers(len(data))
        if random.integers(3):
            data[start : start + random.choice([1, 2, 4, 8])] = random.bytes(int(random.choice([1, 2, 4, 8])))
        else:
            del data[start:]
        if random.integers(4) == 0:
            place = random.integers(min(len(data), 60) + 1)
            data[place : place + 8] = b"\xff" * 8
        try:
            image = decode_image(bytes(data), max_pixels=1_000_000)
        except BadImage as error:
            outcomes["reason"] += bool(str(error))
        else:
            outcomes["picture"] += image.ndim == 3 and image.dtype == np.uint8
    assert sum(outcomes.values()) == 1500
    assert min(outcomes.values()) > 100


# --- files ------------------------------------------------------------------------------------------------


def test_a_file_on_the_disk(tmp_path):
    path = tmp_path / "Fußgänger 1.PNG"
    path.write_bytes(encode(".png"))
    np.testing.assert_array_equal(read_image(path), picture())


def test_a_file_that_is_gone_a_folder_and_a_link_to_itself(tmp_path):
    with pytest.raises(BadImage, match="the file vanished after the run was planned"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(BadImage, match="unreadable: it is a folder"):
        read_image(tmp_path)
    link = tmp_path / "loop.jpg"
    link.symlink_to(link)
    with pytest.raises(BadImage, match="unreadable: Too many levels of symbolic links"):
        read_image(link)


def test_a_file_too_large_for_any_picture_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "huge.jpg"
    path.touch()
    os.truncate(path, 1 << 40)  # takes no space
    with pytest.raises(BadImage, match=r"too large: more than 13 MB, more than an image within the limit of 1 mega"):
        read_file(path, max_pixels=1_000_000)
    os.truncate(path, 13_000_000)
    assert len(read_file(path, max_pixels=1_000_000)) == 13_000_000
