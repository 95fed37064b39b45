-- A node is alive till asked.till and owns its list again, whoever had adopted it. asked: node, till.

call('ZADD', P .. 'nodes', asked.till, asked.node)
call('HDEL', P .. 'adopted', asked.node)
call('ZREM', P .. 'dropped', asked.node)
return reply(true)
