"""What it all means: sessions, executions, the job lifecycle. Knows neither sockets nor Redis nor HTTP."""
