-- Answers with effects that wait for an operator, longest first, as rows like those of a lease. asked: limit.

local found = {}
if asked.limit > 0 then
  for _, member in ipairs(call('ZRANGE', P .. 'held', 0, asked.limit - 1)) do
    local kind, job = string.match(member, '^(%a+):(.*)$')
    local values = call('HMGET', P .. 'effect:' .. member, 'body', 'state', 'tries', 'since', 'note')
    if values[1] then
      found[#found + 1] = {kind, job, unpack(values)}
    end
  end
end
return reply(found)
