-- Tells all nodes that a job of asked.challenge waits.

local message = cmsgpack.pack({asked.challenge, false})
for _, node in ipairs(call('ZRANGE', P .. 'nodes', 0, -1)) do
  call('PUBLISH', P .. 'node:' .. node, message)
end
return reply(true)
