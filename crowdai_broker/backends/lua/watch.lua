-- Lets a node hear of an execution's events, for as long as the execution is kept. asked: execution, node.

local key = execution_key(asked.execution)
local left = call('PTTL', key)
if left == -2 then
  return reply(false)
end
call('SADD', key .. ':watch', asked.node)
if left >= 0 then
  call('PEXPIRE', key .. ':watch', left)
end
return reply(true)
