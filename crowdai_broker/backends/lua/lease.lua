-- Leases effects that are due. asked: now, till, limit, node. Answers with rows: kind, job, body, the state before,
-- tries, since, note.

local leased = {}
for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'outbox', '-inf', asked.now, 'LIMIT', 0, asked.limit)) do
  local key = P .. 'effect:' .. member
  local body, state, since, note, node = unpack(call('HMGET', key, 'body', 'state', 'since', 'note', 'node'))
  if not body then
    call('ZREM', P .. 'outbox', member)
  else
    if node ~= '' then
      call('SREM', leased_key(node), member)
    end
    local tries = call('HINCRBY', key, 'tries', 1)
    call('HSET', key, 'state', 'sent', 'node', asked.node)
    call('SADD', leased_key(asked.node), member)
    call('ZADD', P .. 'outbox', asked.till, member)
    local kind, job = string.match(member, '^(%a+):(.*)$')
    leased[#leased + 1] = {kind, job, body, state, tries, since, note}
  end
end
return reply(leased)
