-- Takes over the lists of dead nodes and of those that these had adopted. asked: node, now, pause (ms until what they
-- had leased is due), list (its name without the node), graves (ms that a dropped list is looked after). Answers with the nodes adopted by asked.node.

local dead = {}
for _, name in ipairs(call('ZRANGEBYSCORE', P .. 'nodes', '-inf', asked.now)) do
  if name ~= asked.node then
    dead[name] = true
    call('ZREM', P .. 'nodes', name)
    call('HDEL', P .. 'shown', name)
    call('HSET', P .. 'adopted', name, asked.node)
    for _, member in ipairs(call('SMEMBERS', leased_key(name))) do
      call('HSET', P .. 'effect:' .. member, 'node', '')
      call('ZADD', P .. 'outbox', asked.now + asked.pause, member)
    end
    call('DEL', leased_key(name))
  end
end

local mine = {}
local adopted = call('HGETALL', P .. 'adopted')
for index = 1, #adopted, 2 do
  local name, adopter = adopted[index], adopted[index + 1]
  if dead[adopter] then
    call('HSET', P .. 'adopted', name, asked.node)
    adopter = asked.node
  end
  if adopter == asked.node then
    mine[#mine + 1] = name
  end
end
table.sort(mine)

-- What is written to a list after it was dropped belongs to attempts that are over.
call('ZREMRANGEBYSCORE', P .. 'dropped', 1, asked.now - asked.graves)
for _, name in ipairs(call('ZRANGEBYSCORE', P .. 'dropped', 0, 0)) do
  call('ZADD', P .. 'dropped', asked.now, name)
end
for _, name in ipairs(call('ZRANGE', P .. 'dropped', 0, -1)) do
  if call('HEXISTS', P .. 'writers', name) == 0 then -- else it is back, and has not said so yet
    call('DEL', asked.list .. name)
  end
end
return reply(mine)
