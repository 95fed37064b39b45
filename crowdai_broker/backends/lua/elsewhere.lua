-- Reads the head of a list of graders that have a Redis of their own: runs there. KEYS: the list. asked: upto (how
-- many entries the store has consumed), limit, bytes, largest. What the store consumed and this server still has
-- goes first. A server that does not know how many it removed begins to count here: it is new, or lost its data.

local removed = call('HGET', P .. 'removed', KEYS[1])
local surplus = removed and asked.upto - tonumber(removed) or 0
if surplus > 0 then
  call('LTRIM', KEYS[1], surplus, -1)
end
if not removed or surplus ~= 0 then
  call('HSET', P .. 'removed', KEYS[1], asked.upto)
end
return head(KEYS[1], asked.upto)
