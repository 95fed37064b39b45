-- Ends a lease. asked: member, state, due, note, node. Answers whether it was still this node's to end.

local key = P .. 'effect:' .. asked.member
local node, since = unpack(call('HMGET', key, 'node', 'since'))
if not node or (node ~= '' and node ~= asked.node) then
  return reply(false)
end
if node ~= '' then
  call('SREM', leased_key(node), asked.member)
end
call('HSET', key, 'state', asked.state, 'note', asked.note, 'node', '')
if asked.state == 'held' then
  call('ZREM', P .. 'outbox', asked.member)
  call('ZADD', P .. 'held', since, asked.member)
else
  call('ZREM', P .. 'held', asked.member)
  call('ZADD', P .. 'outbox', asked.due, asked.member)
end
return reply(true)
