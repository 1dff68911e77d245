"""The web of the fetch benchmark: pictures from memory, over HTTP and TLS, on many loopback addresses; some never answer.

    python picture_server.py JOB.json       {"pictures": FILE.npz, "hosts": 200, "hanging": 4, "key": ..., "certificate": ...}

Prints {"http": port, "https": port} and serves until its stdin ends. Host number n is 127.0.0.(n + 2) and on; the last
`hanging` of them accept and stay silent. One process, a few dozen lines per request: it must cost little of the machine that it
shares with what is measured.
"""

import asyncio
import io
import json
import ssl
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def address(number: int) -> str:
    return f"127.0.{number // 250}.{number % 250 + 2}"


def make_pictures(count: int) -> list[bytes]:
    """JPEGs with a natural spectrum (1/f in three colours, Field 1987) and a few edges: about 650 px and 47 KB each."""
    found = []
    for seed in range(count):
        draw = np.random.default_rng(seed)
        width, height = (int(side) for side in draw.integers(520, 781, 2))
        x, y = np.fft.fftfreq(width)[None, :], np.fft.fftfreq(height)[:, None]
        amplitude = 1.0 / np.maximum(np.hypot(x, y), 1.0 / max(width, height)) ** 1.6
        pixels = np.empty((height, width, 3))
        shared = draw.normal(size=(height, width))
        for channel in range(3):
            noise = np.fft.fft2(shared + 0.25 * draw.normal(size=(height, width)))
            wave = np.real(np.fft.ifft2(noise * amplitude))
            pixels[..., channel] = 128 + 52 * (wave - wave.mean()) / wave.std()
        for _ in range(4):
            left, top = draw.integers(0, width - 80), draw.integers(0, height - 80)
            pixels[top : top + draw.integers(40, 160), left : left + draw.integers(40, 160)] += draw.normal(0, 30, 3)
        sink = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=75)
        found.append(sink.getvalue())
    return found


class Site(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: list[bytes], silent: frozenset[str]) -> None:
        self.answers, self.silent = answers, silent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.is_silent = transport.get_extra_info("sockname")[0] in self.silent
        self.got = b""

    def data_received(self, data: bytes) -> None:
        if self.is_silent:
            return
        self.got += data
        while (end := self.got.find(b"\r\n\r\n")) >= 0:
            head, self.got = self.got[:end], self.got[end + 4 :]
            path = head[head.index(b" ") + 2 : head.index(b" HTTP/")]
            name = path.partition(b".jpg")[0]
            if name.isdigit():
                self.transport.write(self.answers[int(name) % len(self.answers)])
            else:
                self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            if b"connection: close" in head.lower():
                self.transport.close()


async def serve(job: dict) -> None:
    with np.load(job["pictures"]) as stored:
        pictures = [stored[name].tobytes() for name in sorted(stored.files)]
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        for body in pictures
    ]
    hosts = [address(number) for number in range(job["hosts"])]
    silent = frozenset(hosts[len(hosts) - job["hanging"] :])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(job["certificate"], job["key"])
    loop = asyncio.get_running_loop()
    ports, servers = {}, []
    for name, context in (("http", None), ("https", tls)):
        first = await loop.create_server(lambda: Site(answers, silent), hosts[0], 0, ssl=context, backlog=512)
        ports[name] = first.sockets[0].getsockname()[1]
        rest = await loop.create_server(lambda: Site(answers, silent), hosts[1:], ports[name], ssl=context, backlog=512)
        servers += [first, rest]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
