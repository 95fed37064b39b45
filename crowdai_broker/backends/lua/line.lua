-- Answers with the jobs in flight of asked.challenge and up to asked.limit of its waiting jobs, in the order in
-- which they would be taken.

local CHUNK = 64
local waiting = {}

-- A ring is gone through round by round; lanes are read a chunk at a time, and left once they are at their end.
local function go_round(lane)
  local place = {challenge = asked.challenge, lane = lane}
  local inside = {}
  for _, participant in ipairs(call('LRANGE', ring_key(place), 0, asked.limit)) do
    place.participant_id = participant
    inside[#inside + 1] = {key = lane_key(place), jobs = {}}
  end
  local turn = 0
  while #inside > 0 do
    local still = {}
    for _, one in ipairs(inside) do
      if #waiting >= asked.limit then
        return
      end
      if turn % CHUNK == 0 then
        one.jobs = call('LRANGE', one.key, turn, turn + CHUNK - 1)
      end
      local id = one.jobs[turn % CHUNK + 1]
      if id then
        waiting[#waiting + 1] = id
        still[#still + 1] = one
      end
    end
    inside, turn = still, turn + 1
  end
end

go_round('live')
go_round('regrade')
return reply({call('SCARD', P .. 'flight:' .. asked.challenge), waiting})
