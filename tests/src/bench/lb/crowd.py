"""One end of many connections that do nothing, in a process of its own, as no process may have all of them.

`serve`: prints its port and answers each request on a free port of 127.0.0.1, until its input ends.
`hold PORT SOURCE...`: for each number that it reads opens so many connections to 127.0.0.1 PORT from these addresses in
turn, asks once over each, and prints how many it holds then.
"""

import resource
import selectors
import socket
import sys

REQUEST = b"GET /index.html HTTP/1.1\r\nHost: www.example.test\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nserver: origin\r\n\r\nhello"


def serve():
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    told = selectors.DefaultSelector()
    told.register(listener, selectors.EVENT_READ)
    told.register(sys.stdin, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    while True:
        for key, _ in told.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                try:
                    client = listener.accept()[0]
                except BlockingIOError:
                    continue
                client.setblocking(False)
                told.register(client, selectors.EVENT_READ, bytearray())
            else:
                answer(told, key.fileobj, key.data)


def answer(told, client, heard):
    """Answers what `client` has asked in full; one that has gone is forgotten."""
    try:
        piece = client.recv(4096)
    except BlockingIOError:
        return
    except OSError:
        piece = b""
    if not piece:
        told.unregister(client)
        client.close()
        return
    heard += piece
    while b"\r\n\r\n" in heard:
        del heard[: heard.index(b"\r\n\r\n") + 4]
        client.sendall(ANSWER)


def hold(port, sources):
    held = []
    for line in sys.stdin:
        for _ in range(int(line)):
            source = sources[len(held) % len(sources)]
            client = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
            client.sendall(REQUEST)
            heard = b""
            while not heard.endswith(b"hello"):
                piece = client.recv(1024)
                if not piece:
                    sys.exit("closed before the answer")
                heard += piece
            held.append(client)
        print(sum(is_open(client) for client in held), flush=True)


def is_open(client):
    """Whether the other end still has it: there is nothing to read, not even its end."""
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
if sys.argv[1] == "serve":
    serve()
else:
    hold(int(sys.argv[2]), sys.argv[3:])
