"""What a recording needs: a log, taps that write down what crosses a WebSocket, literal peers, HTTP.

Everything that crosses a tap is logged before it is passed on, so the order of the log is an order in
which it can happen again.
"""

import asyncio
import json
import os
import socket
import struct
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

PATIENCE = 30


class Log:
    """The conversation so far, as it goes into the file."""

    def __init__(self):
        self.entries = []
        self.changed = time.monotonic()

    def add(self, **entry):
        self.entries.append(entry)
        self.changed = time.monotonic()

    async def quiet(self, seconds=0.4):
        """Waits until nothing was said for so long."""
        began = time.monotonic()
        while time.monotonic() - max(self.changed, began) < seconds:
            await asyncio.sleep(0.02)

    def write(self, path):
        with open(path, "w") as file:
            for entry in self.entries:
                line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
                # Nothing of the machine that it was made on.
                file.write(line.replace(socket.gethostname(), "workstation") + "\n")


class Frames:
    """WebSocket frames out of one direction's bytes."""

    def __init__(self):
        self.bytes = b""

    def feed(self, data):
        self.bytes += data
        while len(self.bytes) >= 2:
            first, second = self.bytes[0], self.bytes[1]
            assert first & 0x80, "fragmented messages are not recorded"
            length, at = second & 0x7F, 2
            if length >= 126:
                size = 2 if length == 126 else 8
                if len(self.bytes) < at + size:
                    return
                length, at = int.from_bytes(self.bytes[at : at + size], "big"), at + size
            mask = b""
            if second & 0x80:
                mask, at = self.bytes[at : at + 4], at + 4
            if len(self.bytes) < at + length:
                return
            body = self.bytes[at : at + length]
            if mask:
                body = bytes(b ^ mask[i % 4] for i, b in enumerate(body))
            self.bytes = self.bytes[at + length :]
            yield first & 0x0F, body


class Tap:
    """A port that leads to the server; each connection through it is a link of the log."""

    def __init__(self, log, name, user, target):
        self.log, self.name, self.user, self.target = log, name, user, target
        self.count, self.open, self.ended = 0, set(), set()
        # Who connects while it is not set waits.
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self):
        self.listener = await asyncio.start_server(self.joined, "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    def cut(self):
        """Breaks every link that is open, without a close frame."""
        for link, writers in list(self.open):
            if self.closed(link, by="network"):
                for writer in writers:
                    writer.transport.abort()

    def closed(self, link, **how):
        if link in self.ended:
            return False
        self.ended.add(link)
        self.log.add(link=link, closed=how)
        return True

    async def joined(self, reader, writer):
        await self.gate.wait()
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        request = await head(reader)
        if b"upgrade: websocket" in request.lower():
            self.count += 1
            link = f"{self.name}-{self.count}"
            self.log.add(link=link, open=opening(request, self.user))
        else:
            link = None
        far_writer.write(request)
        if link is None:
            pumps = [copy(reader, far_writer), copy(far_reader, writer)]
            await asyncio.gather(*pumps)
            return
        answer = await head(far_reader)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        writer.write(answer)
        ends = (link, (writer, far_writer))
        self.open.add(ends)
        await asyncio.gather(
            self.pump(link, "client", reader, far_writer),
            self.pump(link, "server", far_reader, writer),
        )
        self.open.discard(ends)

    async def pump(self, link, side, reader, writer):
        frames = Frames()
        try:
            while data := await reader.read(65536):
                for opcode, body in frames.feed(data):
                    if opcode == 1:
                        self.log.add(**{"link": link, "from": side, "text": body.decode()})
                    elif opcode == 2:
                        self.log.add(**{"link": link, "from": side, "binary": body.hex()})
                    elif opcode == 8:
                        code = int.from_bytes(body[:2], "big") if body else None
                        self.closed(link, by=side, code=code, reason=body[2:].decode())
                writer.write(data)
            self.closed(link, by=side)
            writer.close()
        except (ConnectionError, RuntimeError):
            self.closed(link, by=side)


async def head(reader):
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)


async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def opening(request, user):
    """Where a link goes and who opens it, without the token."""
    path = request.split(b" ")[1].decode()
    parts = urlsplit(path)
    query = [(k, v) for k, v in parse_qsl(parts.query) if k != "token"]
    token = "query" if "token=" in parts.query else "header"
    path = parts.path + ("?" + urlencode(query) if query else "")
    return {"path": path, "user": user, "token": token}


class Peer:
    """A literal peer behind a tap."""

    @classmethod
    async def open(cls, tap, path, token, in_query=False):
        peer = cls()
        peer.reader, peer.writer = await asyncio.open_connection("127.0.0.1", tap.port)
        bearer = "" if in_query else f"Authorization: Bearer {token}\r\n"
        if in_query:
            path += ("&" if "?" in path else "?") + "token=" + token
        peer.writer.write(
            (
                f"GET {path} HTTP/1.1\r\nHost: onsembl.test\r\nConnection: Upgrade\r\n"
                f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{bearer}"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ).encode()
        )
        await head(peer.reader)
        peer.heard, peer.news = [], asyncio.Event()
        peer.task = asyncio.create_task(peer.read())
        return peer

    async def read(self):
        frames = Frames()
        try:
            while data := await self.reader.read(65536):
                for opcode, body in frames.feed(data):
                    if opcode == 1:
                        self.heard.append(json.loads(body))
                        self.news.set()
                    elif opcode == 8:
                        self.frame(8, body)
                        self.writer.close()
                    elif opcode == 9:
                        self.frame(10, body)
        except ConnectionError:
            pass

    def frame(self, opcode, body):
        size = len(body)
        start = bytes([0x80 | opcode])
        if size < 126:
            start += bytes([0x80 | size])
        else:
            start += bytes([0x80 | 126]) + struct.pack(">H", size)
        mask = os.urandom(4)
        self.writer.write(start + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(body)))

    def send(self, kind, payload, id="m-1"):
        message = {"type": kind, "id": id, "timestamp": 1762080000000, "payload": payload}
        self.text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def text(self, text):
        self.frame(1, text.encode())

    async def expect(self, kind, like=lambda payload: True):
        """The first message of this type and kind that was not looked at yet."""

        async def look():
            while True:
                for n, message in enumerate(self.heard):
                    if message["type"] == kind and like(message["payload"]):
                        del self.heard[: n + 1]
                        return message["payload"]
                self.news.clear()
                await self.news.wait()

        return await asyncio.wait_for(look(), PATIENCE)

    async def close(self, code=1000):
        self.frame(8, struct.pack(">H", code))
        await asyncio.wait_for(self.task, PATIENCE)


class Web:
    """The pages of the server; a request and its answer are two entries."""

    def __init__(self, log, target, tokens):
        self.log, self.target, self.tokens, self.count = log, target, tokens, 0

    async def ask(self, user, method, path, body=None):
        self.count += 1
        link = f"http-{self.count}"
        sent = {"user": user, "method": method, "path": path}
        if body is not None:
            sent["body"] = json.dumps(body)
        self.log.add(link=link, request=sent)
        status, text = await self.plain(user, method, path, body)
        self.log.add(link=link, answer={"status": status, "body": text})

    async def plain(self, user, method, path, body=None):
        reader, writer = await asyncio.open_connection(*self.target)
        content = b"" if body is None else json.dumps(body).encode()
        writer.write(
            (
                f"{method} {path} HTTP/1.1\r\nHost: onsembl.test\r\nConnection: close\r\n"
                f"Authorization: Bearer {self.tokens[user]}\r\nContent-Length: {len(content)}\r\n\r\n"
            ).encode()
            + content
        )
        answer = await head(reader)
        status = int(answer.split(b" ")[1])
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        if b"transfer-encoding: chunked" in answer.lower():
            whole = b""
            while rest:
                size, rest = rest.split(b"\r\n", 1)
                size = int(size, 16)
                whole, rest = whole + rest[:size], rest[size + 2 :]
            rest = whole
        return status, rest.decode()
