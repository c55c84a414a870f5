"""An application that goes away and comes back: it tells who called, and answers a body of some size under its checksum."""

import asyncio
import random
import time
import zlib

NOISE = random.Random(7).randbytes(1 << 20)
# Seconds.
PAUSE = 60
STREAM_PIECES = 40


def some_bytes(limit):
    size = int(limit * random.random() ** 4)
    start = random.randrange(len(NOISE) - size)
    return NOISE[start : start + size]


class Backend:
    """One address, and the process behind it as far as sockets show one."""

    def __init__(self):
        self.server, self.port, self.writers, self.busy = None, 0, set(), set()
        self.stops = []

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self.server.sockets[0].getsockname()[1]

    async def restart(self, killed):
        """Goes away, letting what has begun end unless it is killed, and comes back a little later."""
        self.stops.append(time.monotonic())
        self.server.close()
        for writer in list(self.writers if killed else self.writers - self.busy):
            writer.transport.abort() if killed else writer.close()
        await asyncio.sleep(random.uniform(0.5, 4))
        while self.busy and not killed:
            await asyncio.sleep(0.05)
        for writer in list(self.writers):
            writer.close()
        self.stops.append(time.monotonic())
        await self.start()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        stopped = len(self.stops)
        try:
            while len(self.stops) == stopped:
                head = await reader.readuntil(b"\r\n\r\n")
                self.busy.add(writer)
                await self.exchange(reader, writer, head)
                self.busy.discard(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.busy.discard(writer)
            self.writers.discard(writer)
            writer.close()

    async def exchange(self, reader, writer, head):
        line, headers = parse_head(head)
        method, target = line.split(" ")[:2]
        if target.endswith("/socket"):
            self.busy.discard(writer)
            return await self.socket(reader, writer, headers)
        body = await read_body(reader, headers)
        said = f"X-Caller: {headers.get('x-user-id', '-')}\r\nX-Received: {zlib.crc32(body)}\r\n"
        if target.endswith("/stream"):
            self.busy.discard(writer)
            return await self.stream(writer, said)
        answer = some_bytes(200_000 if random.random() < 0.05 else 8_000)
        said += f"X-Sent: {zlib.crc32(answer)}\r\n"
        if random.random() < 0.05:
            await asyncio.sleep(random.random())
        if method == "HEAD" or random.random() < 0.6:
            writer.write(f"HTTP/1.1 200 OK\r\n{said}Content-Length: {len(answer)}\r\n\r\n".encode())
            writer.write(answer if method != "HEAD" else b"")
        else:
            half = len(answer) // 2
            writer.write(f"HTTP/1.1 200 OK\r\n{said}Transfer-Encoding: chunked\r\n\r\n".encode())
            writer.write(b"".join(map(chunk, filter(None, (answer[:half], answer[half:])))) + chunk(b""))
        await writer.drain()

    async def stream(self, writer, said):
        """A piece a second, as server-sent events come."""
        writer.write(f"HTTP/1.1 200 OK\r\n{said}Transfer-Encoding: chunked\r\n\r\n".encode())
        for number in range(STREAM_PIECES):
            writer.write(chunk(b"data: %d\n\n" % number))
            await writer.drain()
            await asyncio.sleep(1)
        writer.write(chunk(b""))

    async def socket(self, reader, writer, headers):
        """Sends back what comes: frames as they are, which a client that asks for no more can read."""
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"X-Caller: " + headers["x-user-id"].encode() + b"\r\n\r\n"
        )
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        raise ConnectionError


def parse_head(head):
    """The first line, and the headers by their names in lower case."""
    line, *lines = head.decode("latin-1").split("\r\n")[:-2]
    return line, {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read_body(reader, headers):
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    if "transfer-encoding" not in headers:
        return b""
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)


async def restart_in_turn(backends):
    """Each goes away every other minute, never both at once."""
    while True:
        for backend in backends:
            await asyncio.sleep(PAUSE * random.uniform(0.7, 1.1))
            await backend.restart(killed=random.random() < 0.5)
