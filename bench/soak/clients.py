"""Clients that speak HTTP/1.1 and HTTP/2 over kept connections, and hold WebSockets and streams."""

import asyncio
import os
import time
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from backend import chunk, parse_head, read_body

# Seconds that no answer takes.
PATIENCE = 30
# Seconds after which a kept connection is not used again: the proxy may close it.
IDLE = 40


class Broken(Exception):
    """An exchange or a connection that did not end as it should."""


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes = b""


class Plain:
    """A kept HTTP/1.1 connection, for one exchange after another."""

    # Bytes of a request's body.
    largest = 1 << 20

    def __init__(self, port):
        self.port, self.reader, self.writer, self.left, self.used = port, None, None, 0, 0

    async def ask(self, method, path, headers, body=b"", chunked=False):
        if not self.left or time.monotonic() - self.used > IDLE:
            await self.open()
        elif self.reader.at_eof():
            self.left = 0
            raise Broken("a kept connection was closed")
        self.left, self.used = self.left - 1, time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.exchange(method, path, headers, body, chunked)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as fault:
            self.left = 0
            raise Broken(f"{type(fault).__name__} {fault}") from fault

    async def open(self, left=200):
        if self.writer:
            self.writer.close()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.left = left

    async def exchange(self, method, path, headers, body, chunked):
        if body:
            framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body))
            headers = [*headers, framing]
        if body and chunked:
            body = b"".join(chunk(body[start : start + 16384]) for start in range(0, len(body), 16384)) + chunk(b"")
        lines = [f"{method} {path} HTTP/1.1", "Host: app", *(f"{name}: {value}" for name, value in headers), "", ""]
        self.writer.write("\r\n".join(lines).encode() + body)
        answer = await self.head()
        if answer.status != 101 and method != "HEAD":
            answer.body = await read_body(self.reader, answer.headers)
        if answer.headers.get("connection") == "close":
            self.left = 0
        return answer

    async def head(self):
        line, headers = parse_head(await self.reader.readuntil(b"\r\n\r\n"))
        return Answer(int(line[9:12]), headers)

    async def stream(self, path, headers):
        """Reads a stream to its end."""
        await self.open(left=1)
        try:
            return await self.exchange("GET", path, headers, b"", False)
        finally:
            self.writer.close()

    async def socket(self, path, headers, messages):
        """Sends a message a second over a WebSocket, and waits for each to come back."""
        await self.open(left=1)
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        key = ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
        answer = await self.exchange("GET", path, [*headers, *upgrade, key], b"", False)
        try:
            for _ in range(messages if answer.status == 101 else 0):
                payload = os.urandom(100)
                frame = bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload
                self.writer.write(frame)
                if await self.reader.readexactly(len(frame)) != frame:
                    raise Broken("a WebSocket's message came back as another")
                await asyncio.sleep(1)
        finally:
            self.writer.close()
        return answer


class Multiplexed:
    """A kept HTTP/2 connection in the clear, for several exchanges at once."""

    # What goes out without a look at how much the proxy takes.
    largest = 4096

    def __init__(self, port):
        self.port, self.connection, self.writer, self.waiting, self.left = port, None, None, {}, 0
        self.opening = asyncio.Lock()

    async def ask(self, method, path, headers, body=b"", chunked=False):
        async with self.opening:
            if not self.left:
                await self.open()
            self.left -= 1
        stream = self.connection.get_next_available_stream_id()
        fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "app")]
        fields += [(name.lower(), value) for name, value in headers]
        self.connection.send_headers(stream, fields, end_stream=not body)
        if body:
            self.connection.send_data(stream, body, end_stream=True)
        done = asyncio.get_running_loop().create_future()
        self.waiting[stream] = (done, Answer(0, {}))
        self.writer.write(self.connection.data_to_send())
        try:
            async with asyncio.timeout(PATIENCE):
                return await done
        except TimeoutError as fault:
            raise Broken("TimeoutError over HTTP/2") from fault
        finally:
            self.waiting.pop(stream, None)

    async def open(self):
        # What is under way on the last one ends there.
        while self.waiting:
            await asyncio.sleep(0.05)
        if self.writer:
            self.writer.close()
        reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.left = 300
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(1 << 24)
        self.writer.write(self.connection.data_to_send())
        self.task = asyncio.create_task(self.read(reader, self.writer, self.connection))

    async def read(self, reader, writer, connection):
        try:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    self.take(event, connection)
                writer.write(connection.data_to_send())
        except (OSError, h2.exceptions.ProtocolError):
            pass
        writer.close()
        if connection is self.connection:
            self.left = 0
            for done, _ in self.waiting.values():
                if not done.done():
                    done.set_exception(Broken("an HTTP/2 connection was closed"))

    def take(self, event, connection):
        if isinstance(event, h2.events.ConnectionTerminated) and connection is self.connection:
            self.left = 0
        if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        done, answer = self.waiting.get(getattr(event, "stream_id", None), (None, None))
        if done is None or done.done():
            return
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers[":status"])
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            done.set_result(answer)
        elif isinstance(event, h2.events.StreamReset):
            done.set_exception(Broken(f"an HTTP/2 stream was reset with {event.error_code!r}"))
