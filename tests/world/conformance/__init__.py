"""What Engine.IO 3 and 4 and Socket.IO 4 and 5 ask of a server, tried over real sockets.

The behaviours are those of the protocols' public conformance suites and of the reference servers
(engine.io 3.6 with socket.io 2.5, engine.io 6.6 with socket.io 4.8), told in our own words.
The server under test is ``examples/conformance_server.py``.
"""
