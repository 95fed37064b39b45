"""The two ends of the wire (long-polling, WebSocket), the Socket.IO server, pages and intake."""
