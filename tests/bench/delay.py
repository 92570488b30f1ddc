#!/usr/bin/env python3
"""delay.py HOST:PORT MS - a TCP proxy on loopback that makes a far server of a near one.

Half of MS is added to everything in each direction, and MS to the making of a connection, as a link
with that round trip would. Bandwidth isn't limited. Prints its own address as http://127.0.0.1:PORT
and runs until SIGTERM.
"""

import asyncio
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


async def main(server, ms):
    host, port = server.rsplit(":", 1)
    delay = ms / 2000

    async def accept(reader, writer):
        await asyncio.sleep(2 * delay)
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, up_writer, delay), pump(up_reader, writer, delay))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
