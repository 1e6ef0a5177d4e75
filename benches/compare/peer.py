"""A peer of the server, as little work as possible: one blocking socket, frames by hand."""

import json
import socket
import struct

PATIENCE = 120


class Peer:
    """One WebSocket link."""

    def __init__(self, target, path, token):
        self.socket = socket.create_connection(target, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent, self.bytes, self.at = 0, b"", 0
        self.socket.sendall(
            (
                f"GET {path} HTTP/1.1\r\nHost: onsembl.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ).encode()
        )
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server ended the link")
        self.bytes, self.at = self.bytes[self.at :] + data, 0

    def take(self, count):
        while len(self.bytes) - self.at < count:
            self.more()
        taken = self.bytes[self.at : self.at + count]
        self.at += count
        return taken

    def frame(self, opcode, body):
        size = len(body)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
        else:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
        # A mask of zeros is a mask, and leaves the bytes as they are.
        self.socket.sendall(head + b"\0\0\0\0" + body)

    def say(self, kind, payload):
        self.sent += 1
        message = {"type": kind, "id": f"m-{self.sent}", "timestamp": 1762080000000, "payload": payload}
        self.frame(1, json.dumps(message, separators=(",", ":")).encode())

    def output(self, command, incarnation, sequence, offset, content):
        """A chunk of standard output as a binary message (P-210)."""
        name = command.encode()
        self.frame(2, struct.pack(">BBHQQQ", 1, 0, len(name), incarnation, sequence, offset) + name + content)

    def next(self):
        while True:
            first, second = self.take(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
            body = self.take(size)
            match first & 0x0F:
                case 1:
                    message = json.loads(body)
                    if message["type"] == "PING":
                        self.say("PONG", {"timestamp": message["payload"].get("timestamp")})
                    elif message["type"] == "ERROR":
                        raise RuntimeError(message["payload"])
                    else:
                        return message
                case 2:
                    # Output for a dashboard (P-461).
                    kind, _, command, agent, incarnation, sequence, offset, _ = struct.unpack(">BBHHQQQq", body[:38])
                    assert kind == 2, body
                    name, content = body[38 : 38 + command].decode(), body[38 + command + agent :]
                    payload = {
                        "commandId": name, "incarnation": incarnation, "sequence": sequence, "offset": offset,
                        "content": content,
                    }
                    return {"type": "TERMINAL_STREAM", "payload": payload}
                case 8:
                    raise ConnectionError(f"the server closed: {body}")
                case 9:
                    self.frame(10, body)

    def hear(self, kind, like=lambda payload: True):
        """The next message of this type and kind; what comes before it is dropped."""
        while True:
            message = self.next()
            if message["type"] == kind and like(message["payload"]):
                return message["payload"]

    def close(self):
        self.frame(8, struct.pack(">H", 1000))
        self.socket.close()
