"""A server for benchmarks: a process of its own that always gives the same answer, with as little work as can be.

with served("an answer") as url: ...
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

DELAY = 0.01


class Served(asyncio.Protocol):
    """The least that answers HTTP: it counts the bytes of a request and sends the same answer after a while."""

    def __init__(self, said: str) -> None:
        message = {"role": "assistant", "content": said}
        completion = {
            "object": "chat.completion",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 30, "total_tokens": 330},
            "id": "x",
            "created": 0,
            "model": "served",
        }
        body = json.dumps(completion).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._answer = head + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._received, self._wanted = transport, bytearray(), 0

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._wanted:
            head, end, _ = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            self._wanted = len(head) + 4 + int(length.partition(b":")[2])
        if len(self._received) >= self._wanted:
            del self._received[: self._wanted]
            self._wanted = 0
            asyncio.get_running_loop().call_later(DELAY, self._send)

    def _send(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._answer)


async def serve(said: str) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Served(said), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


@contextlib.contextmanager
def served(said: str) -> Iterator[str]:
    """The address of a server that says this; it ends with the block."""
    command = [sys.executable, __file__, said]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
