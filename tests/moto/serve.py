"""Runs `moto_server` or `moto_proxy` as their console scripts do, until standard input ends.

    serve.py server|proxy DIRECTORY

The port is a free one; moto says which in its own words. Standard input is a pipe from the test process, so the
server ends with it however that ends, a panic or `kill -9` included. DIRECTORY is what it may write to, and goes with
it. For moto_proxy that is the certificates it signs on demand: in the virtual environment, two proxies at once would
write over each other's.
"""

import os
import shutil
import sys
import threading

what, directory = sys.argv[1:]


def end_with_the_tests():
    sys.stdin.buffer.read()
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)


threading.Thread(target=end_with_the_tests, daemon=True).start()
arguments = ["--host", "127.0.0.1", "--port", "0"]
if what == "server":
    from moto import server

    server.main(arguments)
else:
    from moto import proxy
    from moto.moto_proxy.certificate_creator import CertificateCreator

    certificates = os.path.join(directory, "certs")
    shutil.copytree(CertificateCreator.certdir, certificates)
    shutil.copy(CertificateCreator.cacert, directory)
    CertificateCreator.certdir = certificates
    proxy.main(arguments)
