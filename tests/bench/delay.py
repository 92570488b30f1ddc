#!/usr/bin/env python3
"""delay.py HOST:PORT MS [GATE] - a TCP proxy on loopback that makes a far server of a near one.

Half of MS is added to everything in each direction, and MS to the making of a connection, as a link
with that round trip would. Bandwidth isn't limited. While the file GATE exists, new connections are
closed at once and those that are open are cut; the first one that gets through afterwards makes the file
GATE.through. Prints its own address as http://127.0.0.1:PORT and runs until SIGTERM.
"""

import asyncio
import os
import sys


async def pump(reader, writer, delay):
    """Passes on what comes, each piece `delay` seconds after it came, in order."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue()

    async def send():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    sender = asyncio.create_task(send())
    try:
        while data := await reader.read(65536):
            queue.put_nowait((loop.time() + delay, data))
    except ConnectionError:
        pass
    queue.put_nowait((loop.time() + delay, b""))
    try:
        await sender
    except ConnectionError:
        pass


class Gate:
    """Lets connections through unless its file exists."""

    def __init__(self, path):
        self.path, self.was_shut, self.writers = path, False, set()

    def shut(self):
        shut = bool(self.path) and os.path.exists(self.path)
        self.was_shut = self.was_shut or shut
        return shut

    def passed(self):
        """The first one after the gate was shut leaves its mark."""
        if self.was_shut:
            self.was_shut = False
            with open(self.path + ".through", "w", encoding="ascii"):
                pass

    async def watch(self):
        while True:
            await asyncio.sleep(0.02)
            if self.shut():
                for writer in self.writers:
                    writer.transport.abort()


async def main(server, ms, gate):
    host, port = server.rsplit(":", 1)
    delay = ms / 2000

    async def accept(reader, writer):
        if gate.shut():
            writer.transport.abort()
            return
        gate.passed()
        await asyncio.sleep(2 * delay)
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        gate.writers.add(writer)
        try:
            await asyncio.gather(pump(reader, up_writer, delay), pump(up_reader, writer, delay))
        finally:
            gate.writers.discard(writer)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    watching = asyncio.create_task(gate.watch()) if gate.path else None
    await listening.serve_forever()
    await watching


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), Gate(sys.argv[3] if len(sys.argv) > 3 else "")))
