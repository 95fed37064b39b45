"""What the tests of the real world stand on: foreign programs, processes, raw HTTP and WebSockets.

Everything here is synchronous and knows nothing of the broker: these tests look at it from outside,
over real sockets, as its clients do.
"""
