-- Answers with jobs, named in one of four ways: asked.execution, asked.ids, asked.attempts, or by asked.due (a
-- time, with asked.limit). A job that is not there is answered with false, except among those that are due.

local ids, all = asked.ids, true
if asked.execution then
  ids = cjson.decode(call('HGET', execution_key(asked.execution), 'jobs') or '[]')
elseif asked.attempts then
  ids = call('HMGET', P .. 'attempts', unpack(asked.attempts))
elseif asked.due then
  ids, all = call('ZRANGEBYSCORE', P .. 'due', '-inf', asked.due, 'LIMIT', 0, asked.limit), false
end

local found = {}
for _, id in ipairs(ids) do
  local values = id and job_values(id)
  if values or all then
    found[#found + 1] = values or false
  else
    call('ZREM', P .. 'due', id)
  end
end
return reply(found)
