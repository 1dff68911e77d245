"""What the hostile benchmark throws: a server that misbehaves, URLs that should not be followed, pictures that are odd.

The list of facts E2 and F3 in words of our own; each case says what a careful tool does with it.
"""

import base64
import contextlib
import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

RED, BLUE, WHITE = (230, 30, 20), (20, 40, 220), (255, 255, 255)
NAME = "pictures.test"
LIMIT_SECONDS = 10.0
BODY_MEGABYTES = 300


@dataclass(frozen=True)
class Address:
    """A URL with {host} for the server and {port}; `wanted` is "refused" or "picture"."""

    name: str
    url: str
    wanted: str


@dataclass(frozen=True)
class Odd:
    """A picture's bytes; `colours` are those of its left and right half when stored right, None where it should fall."""

    name: str
    body: bytes
    colours: tuple[tuple[int, int, int], tuple[int, int, int]] | None


def addresses(picture: bytes, local_file: str) -> list[Address]:
    data = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    return [
        Address("a local file", f"file://{local_file}", "refused"),
        Address("the bytes in the URL itself", data, "refused"),
        Address("gopher", "gopher://{host}/picture.jpg", "refused"),
        Address("loopback", "http://127.0.0.1:{port}/picture.jpg", "refused"),
        Address("loopback as a decimal number", "http://2130706433:{port}/picture.jpg", "refused"),
        Address("loopback as IPv6-mapped IPv4", "http://[::ffff:127.0.0.1]:{port}/picture.jpg", "refused"),
        Address("a redirect to loopback", "http://{host}/to_loopback", "refused"),
        Address("a port of another service", "http://{name}:{other_port}/picture.jpg", "refused"),
        Address("a redirect without end", "http://{host}/again/0", "refused"),
        Address(f"a body of {BODY_MEGABYTES} MB", "http://{host}/endless", "refused"),
        Address("a byte now and then", "http://{host}/trickle", "refused"),
        Address("a certificate of nobody", "https://{name}:{tls_port}/picture.jpg", "refused"),
        Address("a blank in the path", "http://{host}/a picture.jpg", "picture"),
        Address("a path outside ASCII", "http://{host}/bild-ä.jpg", "picture"),
    ]


class Server:
    """Loopback server of the cases; `touched` says whether the port of another service was connected to."""

    def __init__(self, picture: bytes) -> None:
        self._picture = picture
        self.touched = False
        self.port = self._listen(self._answer)
        self.other_port = self._listen(self._note)

    def _listen(self, serve: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._guarded, args=(serve, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    def _guarded(self, serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client has had enough
            serve(connection)

    def _note(self, connection: socket.socket) -> None:
        self.touched = True
        connection.sendall(b"SSH-2.0-service\r\n")

    def _answer(self, connection: socket.socket) -> None:
        path = connection.recv(65536).split(b" ")[1].decode("latin-1")
        if path == "/robots.txt":
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif path == "/to_loopback":
            self._redirect(connection, f"http://127.0.0.1:{self.port}/picture.jpg")
        elif path.startswith("/again/"):
            self._redirect(connection, f"/again/{int(path[7:]) + 1}")
        elif path == "/endless":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nConnection: close\r\n\r\n")
            for _ in range(BODY_MEGABYTES):
                connection.sendall(bytes(1 << 20))
        elif path == "/trickle":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 60\r\n\r\n")
            for _ in range(60):
                connection.sendall(b"x")
                time.sleep(0.5)
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self._picture)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + self._picture)

    def _redirect(self, connection: socket.socket, location: str) -> None:
        text = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        connection.sendall(text.encode())


def halves(width: int = 60, height: int = 40) -> Image.Image:
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def encoded(picture: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, format, **({"quality": 95} if format == "JPEG" else {}) | options)
    return sink.getvalue()


def odd_pictures() -> list[Odd]:
    exif = Image.Exif()
    exif[0x0112] = 6
    layer = halves().convert("RGBA")
    layer.paste((0, 0, 0, 0), (30, 0, 60, 40))
    grey, turned, black = (78, 78, 78), Image.Transpose.ROTATE_90, Image.new("1", (20_000, 20_000))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    green = [Image.new("RGB", (60, 40), (0, 255, 0))]
    return [
        Odd("EXIF: stored lying down", encoded(halves().transpose(turned), exif=exif), (RED, BLUE)),
        Odd("16-bit colour PNG", _deep_png(2, (RED, BLUE)), (RED, BLUE)),
        Odd("16-bit grey PNG", _deep_png(0, (grey, WHITE)), (grey, WHITE)),
        Odd("CMYK JPEG", encoded(halves().convert("CMYK")), (RED, BLUE)),
        Odd("colours of another ICC profile", encoded(_exchanged(halves()), icc_profile=_profile()), (RED, BLUE)),
        Odd("palette PNG with transparency", encoded(layer.quantize(8), "PNG"), (RED, WHITE)),
        Odd("RGBA PNG", encoded(layer, "PNG"), (RED, WHITE)),
        Odd("animated GIF", encoded(halves(), "GIF", save_all=True, append_images=green), (RED, BLUE)),
        Odd("animated WebP", encoded(halves(), "WEBP", save_all=True, append_images=green, lossless=True), (RED, BLUE)),
        Odd("16-bit grey TIFF", encoded(_deep(grey, WHITE), "TIFF"), (grey, WHITE)),
        Odd("CMYK TIFF", encoded(halves().convert("CMYK"), "TIFF"), (RED, BLUE)),
        Odd("TIFF stored lying down", encoded(halves().transpose(turned), "TIFF", tiffinfo={274: 6}), (RED, BLUE)),
        Odd("JPEG 2000 with transparency", encoded(layer, "JPEG2000"), (RED, WHITE)),
        Odd("PNM of 16 bits", encoded(_deep(grey, WHITE), "PPM"), (grey, WHITE)),
        Odd("400 megapixels in 12 KB of TIFF", encoded(black, "TIFF", compression="group4"), None),
        Odd("400 megapixels in 49 KB", encoded(black, "PNG"), None),
        Odd("truncated JPEG", encoded(halves(600, 400))[:2000], None),
        Odd("HTML under the name of a JPEG", b"<!doctype html><title>404</title>", None),
        Odd("SVG", svg, None),
        Odd("no bytes", b"", None),
    ]


def _deep_png(kind: int, colours: tuple[tuple[int, int, int], tuple[int, int, int]]) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    channels = 3 if kind == 2 else 1
    pixels = [struct.pack(f">{channels}H", *(level * 257 for level in colour[:channels])) for colour in colours]
    row = b"\0" + pixels[0] * 30 + pixels[1] * 30
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(row * 40)) + chunk(b"IEND", b"")


def _deep(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    """Two grey halves of 16 bits."""
    values = np.repeat(np.array([[left[0], right[0]]], np.uint16) * 257, 30, axis=1)
    return Image.fromarray(values.repeat(40, axis=0))


def _exchanged(picture: Image.Image) -> Image.Image:
    red, green, blue = picture.split()
    return Image.merge("RGB", (green, red, blue))


def _profile() -> bytes:
    """sRGB with the primaries red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 136 + 12 * n for n in range(profile[131])}
    red, green = (slice(entries[name], entries[name] + 8) for name in (b"rXYZ", b"gXYZ"))
    profile[red], profile[green] = profile[green], profile[red]
    return bytes(profile)
