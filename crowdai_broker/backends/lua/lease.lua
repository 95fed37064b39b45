-- Leases effects that are due. asked: now, till, limit, node, call, again (the call was made before: what it leased is
-- answered as it was then). Answers with rows: kind, job, body, the state before, tries, since, note.

local leased = {}

local function answer(member, values)
  local kind, job = string.match(member, '^(%a+):(.*)$')
  leased[#leased + 1] = {kind, job, unpack(values)}
end

if asked.again then
  for _, member in ipairs(call('SMEMBERS', leased_key(asked.node))) do
    local key = P .. 'effect:' .. member
    if call('HGET', key, 'call') == asked.call then
      call('ZADD', P .. 'outbox', asked.till, member)
      answer(member, call('HMGET', key, 'body', 'before', 'tries', 'since', 'note'))
    end
  end
end

local left = asked.limit - #leased
if left <= 0 then
  return reply(leased)
end
for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'outbox', '-inf', asked.now, 'LIMIT', 0, left)) do
  local key = P .. 'effect:' .. member
  local body, state, since, note, node = unpack(call('HMGET', key, 'body', 'state', 'since', 'note', 'node'))
  if not body then
    call('ZREM', P .. 'outbox', member)
  else
    if node ~= '' then
      call('SREM', leased_key(node), member)
    end
    local tries = call('HINCRBY', key, 'tries', 1)
    call('HSET', key, 'state', 'sent', 'node', asked.node, 'call', asked.call, 'before', state)
    call('SADD', leased_key(asked.node), member)
    call('ZADD', P .. 'outbox', asked.till, member)
    answer(member, {body, state, tries, since, note})
  end
end
return reply(leased)
