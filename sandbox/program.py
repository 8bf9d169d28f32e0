"""A program of ours as a server of the sandbox: its ports, for clients and for operators, and how it ends."""

import signal

from host import SandboxError, Server, free_port, make_server_directory, program, send_signal, server_environment

START_ATTEMPTS = 5


class Program(Server):
    """One process of build/programs-VARIANT. Subclasses say what it is called with, and how to see that it lives."""

    name = None
    # Where it listens.
    host = "127.0.0.1"

    def __init__(self, directory, variant="gcc", tied=True):
        super().__init__(directory, tied)
        state = self._load_state()
        self.port = state.get("port")
        self.admin_port = state.get("admin_port")
        self.variant = variant

    def command(self, binary):
        """The words that start it, for the ports it has now."""
        raise NotImplementedError

    def is_alive(self):
        """Whether its event loop turns."""
        raise NotImplementedError

    @property
    def address(self):
        """host:port for clients."""
        return f"{self.host}:{self.port}"

    @property
    def admin_address(self):
        """host:port of the admin interface."""
        return f"{self.host}:{self.admin_port}"

    def start(self):
        """Start it and return when it answers. The ports stay the same over restarts."""
        binary = program(self.name, self.variant)
        if not self.directory.exists():
            make_server_directory(self.directory)
        for attempt in range(START_ATTEMPTS):
            is_new = self.port is None
            if is_new:
                self.port, self.admin_port = free_port(), free_port()
            log_start = len(self.log_text())
            self._spawn(self.command(binary), server_environment())
            try:
                self._wait_ready(self.is_alive, self.name)
                break
            except SandboxError:
                self._wait_gone()
                is_port_taken = "Address already in use" in self.log_text()[log_start:]
                if not (is_port_taken and is_new) or attempt == START_ATTEMPTS - 1:
                    raise
                self.port = None
        self._save_state(port=self.port, admin_port=self.admin_port)

    def stop(self):
        """SIGTERM: it finishes what is under way. The exit status, None if we did not start it."""
        process = self._process
        send_signal(self.processes(), signal.SIGTERM)
        self._wait_gone()
        return process.returncode if process is not None else None

    def restart(self):
        self.stop()
        self.start()
