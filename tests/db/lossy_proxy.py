"""A proxy before a server that can lose the answer to a commit, as a network does."""

import socket
import threading
from contextlib import suppress


class LossyProxy:
    """Passes bytes on between clients and a server on 127.0.0.1; `lose_next_commit` swallows one answer."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._losing = threading.Event()
        self.lost = threading.Event()
        """Set once an answer was lost."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_commit(self) -> None:
        """The next commit of any client reaches the server, and its connection breaks before the answer."""
        self._losing.set()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                silent = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, silent), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server, silent), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._losing.is_set() and b"COMMIT\0" in data:
                    self._losing.clear()
                    silent.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError), client, server:
            while data := server.recv(65536):
                if silent.is_set():
                    self.lost.set()
                    # Not only our copy of the descriptor: the other thread is waiting on it.
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
