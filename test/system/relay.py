"""A TCP relay between a client and a server on this machine that delays and trickles what passes through it.

with Relay(server_port) as relay: ...    relay.port is where clients connect
relay.delay = 0.2                        from now on the server's answers come so many seconds later
relay.trickle = (3, 0.001)               from now on at most 3 bytes go at a time, then a pause; either way
relay.is_frozen = True                   from now on nothing goes; it waits here
relay.calm()                             as at the beginning
"""

import asyncio
import threading

READ_BYTES_MAX = 65536
LOOK_SECONDS = 0.01
HOST = "127.0.0.1"


class Relay:
    """It runs in a thread of its own. What has come in before a change still goes the way it came in for."""

    def __init__(self, server_port):
        self.port = None
        self.connection_count = 0
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._server = None
        self._never = self._loop.create_future()
        self.calm()

    def calm(self):
        """Pass everything on at once."""
        self.delay = 0.0
        self.trickle = None
        self.is_frozen = False

    def __enter__(self):
        threading.Thread(target=self._loop.run_forever, name="relay", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_exc):
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _listen(self):
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self):
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client_reader, client_writer):
        self.connection_count += 1
        writers = [client_writer]
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self._server_port)
            writers.append(server_writer)
            # When either side ends, the other one hears of it.
            pumps = [self._pump(client_reader, server_writer, False), self._pump(server_reader, client_writer, True)]
            await asyncio.wait([asyncio.ensure_future(pump) for pump in pumps], return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for writer in writers:
                writer.close()

    async def _pump(self, reader, writer, is_answer):
        """Until the reader's side ends, or nobody takes what it says."""
        queue = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(queue, writer))
        try:
            while data := await reader.read(READ_BYTES_MAX):
                queue.put_nowait((self._loop.time() + (self.delay if is_answer else 0), data))
            queue.put_nowait((0, None))
            await sender
        except OSError:
            pass
        finally:
            sender.cancel()

    async def _send(self, queue, writer):
        while True:
            due, data = await queue.get()
            if data is None:
                return
            await self._pause(due - self._loop.time())
            while self.is_frozen:
                await self._pause(LOOK_SECONDS)
            while data:
                size, pause = self.trickle or (len(data), 0)
                writer.write(data[:size])
                await writer.drain()
                data = data[size:]
                await self._pause(pause)

    async def _pause(self, seconds):
        if seconds > 0:
            await asyncio.wait([self._never], timeout=seconds)
