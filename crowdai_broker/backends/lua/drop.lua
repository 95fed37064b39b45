-- Forgets the list of a dead node. KEYS: the list. asked: node, dead. Answers whether it did.

if call('HGET', P .. 'adopted', asked.dead) ~= asked.node
  or call('HEXISTS', P .. 'writers', asked.dead) == 1
  or call('EXISTS', KEYS[1]) == 1 then
  return reply(false)
end
call('HDEL', P .. 'adopted', asked.dead)
call('HDEL', P .. 'consumed', KEYS[1])
call('ZADD', P .. 'dropped', 0, asked.dead) -- the next adoption says when
return reply(true)
