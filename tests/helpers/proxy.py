"""A reverse proxy that takes a prefix away, as small as one can be: HTTP with a connection per request, WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while content := await reader.read(65536):
            writer.write(content)
            await writer.drain()
    writer.close()


@contextmanager
def stripping_proxy(server: str, prefix: str) -> Iterator[str]:
    """The address at which `server` is reached below `prefix`, of which it knows nothing."""
    target = urlsplit(server)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            request, *headers = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            method, path, version = request.split(b" ")
            if not path.startswith(f"/{prefix}/".encode()):
                writer.write(NOT_FOUND)
                await writer.drain()
                writer.close()
                return
            if not any(header.lower().startswith(b"upgrade:") for header in headers):
                headers = [header for header in headers if not header.lower().startswith(b"connection:")]
                headers.insert(0, b"Connection: close")
            there, back = await asyncio.open_connection(target.hostname, target.port)
            back.write(b"\r\n".join([b" ".join((method, path[len(prefix) + 1 :], version)), *headers]))
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))

    loop, ready, port = asyncio.new_event_loop(), threading.Event(), []

    def run() -> None:
        asyncio.set_event_loop(loop)
        listening = loop.run_until_complete(asyncio.start_server(handle, "127.0.0.1", 0))
        port.append(listening.sockets[0].getsockname()[1])
        ready.set()
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{port[0]}/{prefix}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
