"""A slow network: a TCP proxy on loopback that passes bytes on at a limited rate, and counts what is sent."""

import socket
import threading
import time

BLOCK = 4096


class SlowProxy:
    """Forwards connections to a port of this computer; use as a context manager.

    Attributes
    ----------
    port
        Where it listens.
    puts
        Requests so far that upload something.
    within
        Bytes of the last of them, so far.
    """

    def __init__(self, target: int, bytes_per_second: float) -> None:
        self.puts = 0
        self.within = 0
        self._target = target
        self._pause = BLOCK / bytes_per_second
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> "SlowProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        try:
            while data := source.recv(BLOCK):
                if upwards:
                    if data.startswith(b"PUT "):
                        self.puts += 1
                        self.within = 0
                    self.within += len(data)
                    time.sleep(self._pause * len(data) / BLOCK)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()
