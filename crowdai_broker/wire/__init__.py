"""Engine.IO 3 and 4 and Socket.IO 4 and 5, sans-IO: bytes in, events out."""
