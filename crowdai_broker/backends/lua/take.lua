-- Dispatches waiting jobs. asked: challenge, node, attempts, limit, now, due, push, queue, tail (what follows an
-- order's text: before and after the attempt's number), bytes (bound of all orders), skips (bound of entries that
-- are not waiting any more). Answers with the jobs.

local flight = P .. 'flight:' .. asked.challenge
local taken, free, size, skipped = {}, {}, 0, 0

-- A number in use answers a repeated call, if it was given by the first one.
for _, number in ipairs(asked.attempts) do
  local id = call('HGET', P .. 'attempts', number)
  if not id then
    free[#free + 1] = number
  else
    local state, node, challenge = unpack(call('HMGET', job_key(id), 'state', 'node', 'challenge'))
    if state == 'dispatched' and node == asked.node and challenge == asked.challenge then
      taken[#taken + 1] = job_values(id)
    end
  end
end

-- The job whose turn it is, removed from its lane; its participant goes to the end of the ring.
local function next_job()
  for _, lane in ipairs({'live', 'regrade'}) do
    local place = {challenge = asked.challenge, lane = lane}
    local ring = ring_key(place)
    while skipped < asked.skips do
      place.participant_id = call('LPOP', ring)
      if not place.participant_id then
        break
      end
      local id = call('LPOP', lane_key(place))
      if id then
        if call('EXISTS', lane_key(place)) == 1 then
          call('RPUSH', ring, place.participant_id)
        end
        count(P .. 'backlog', asked.challenge, -1)
        if call('HGET', job_key(id), 'state') == 'queued' then
          return id
        end
      end
      skipped = skipped + 1
    end
  end
end

local function dispatch(id, number)
  local key = job_key(id)
  call('HSET', key, 'state', 'dispatched', 'attempt', number, 'node', asked.node, 'due', asked.due,
    'dispatched_at', asked.now)
  call('HINCRBY', key, 'attempts', 1)
  call('HSET', P .. 'attempts', number, id)
  call('HINCRBY', P .. 'writers', asked.node, 1)
  call('SADD', flight, id)
  if asked.due == 0 then
    call('ZREM', P .. 'due', id)
  else
    call('ZADD', P .. 'due', asked.due, id)
  end
  if asked.effect then
    local added = add_effects(id, {{kind = 'dispatch', body = number, due = asked.now}}, asked.now)
    recount(call('HGET', key, 'execution_id'), asked.challenge, added, 0)
  end
  local order, grader = unpack(call('HMGET', key, 'order', 'grader_id'))
  if asked.push then
    local queue = asked.queue
    if queue == '' then
      queue = (grader and grader ~= '') and grader or asked.challenge
    end
    call('LPUSH', asked.list[1] .. queue .. asked.list[2], order .. asked.tail[1] .. number .. asked.tail[2])
  end
  return #order + #asked.tail[1] + #number + #asked.tail[2]
end

local holds = call('SCARD', flight)
for _, number in ipairs(free) do
  if holds >= asked.limit or size >= asked.bytes then
    break
  end
  local id = next_job()
  if not id then
    break
  end
  size = size + dispatch(id, number)
  holds = holds + 1
  taken[#taken + 1] = job_values(id)
end
return reply(taken)
