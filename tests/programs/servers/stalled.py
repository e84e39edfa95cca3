# A stream that stands still: its reader sleeps, so its window closes, and the writer's bytes wait. Beside it sockets of other kinds.
import socket
import threading
import time

listener = socket.socket()
listener.bind(('127.0.0.1', 7000))
listener.listen(7)
writer = socket.create_connection(('127.0.0.1', 7000))
reader, _ = listener.accept()
ended = socket.create_connection(('127.0.0.1', 7000))
other, _ = listener.accept()
ended.close()
other.close()
control = socket.socket(socket.AF_UNIX)
control.bind('/tmp/control.sock')
control.listen(3)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(('127.0.0.1', 5353))
web = socket.socket(socket.AF_INET6)
web.bind(('::', 8080))
web.listen()


def write():
    while True:
        writer.sendall(b'x' * 65536)


threading.Thread(target=write, daemon=True).start()
open('/tmp/ready', 'w').close()
time.sleep(100000)
