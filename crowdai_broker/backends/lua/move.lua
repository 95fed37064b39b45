-- Moves jobs. asked: moves, node, now, inbox, keep, log_cap. Answers with a row for each move:
-- applied, execution, unfinished, logged events; with nothing if the inbox was taken already.

local inbox = asked.inbox
if inbox then
  local consumed = tonumber(call('HGET', P .. 'consumed', inbox.key) or 0)
  if consumed ~= inbox.first then
    return reply({})
  end
  call('HINCRBY', P .. 'consumed', inbox.key, inbox.count)
  if not inbox.remote then
    call('LTRIM', KEYS[1], inbox.count, -1)
  end
end

local news, order = {}, {}

local function tell(execution, logged)
  local known = news[execution]
  if not known then
    known = {}
    news[execution] = known
    order[#order + 1] = execution
  end
  for _, part in ipairs(logged) do
    known[#known + 1] = part
  end
end

local function load(id)
  local key = job_key(id)
  local fields = {'state', 'attempt', 'execution_id', 'participant_id', 'challenge', 'lane', 'node'}
  local values = call('HMGET', key, unpack(fields))
  if not values[1] then
    return nil
  end
  local job = {id = id, key = key}
  for index, field in ipairs(fields) do
    job[field] = values[index]
  end
  return job
end

local function allowed(job, move)
  local expected = false
  for _, state in ipairs(move.expect) do
    expected = expected or state == job.state
  end
  return expected
    and (move.attempt == nil or move.attempt == job.attempt)
    and (move.to == nil or not TERMINAL[job.state])
    and (move.done == nil or call('EXISTS', P .. 'effect:' .. move.done .. ':' .. job.id) == 1)
end

-- The fragments to log, the held one first where it goes too.
local function fragments(job, move)
  if move.hold then
    call('HSET', job.key, 'held', move.hold)
    return {}
  end
  local ends = move.to and TERMINAL[move.to]
  if not (move.flush or ends or move.to == 'queued') then
    return move.events
  end
  local held = call('HGET', job.key, 'held')
  if not held or held == '' then
    return move.events
  end
  call('HSET', job.key, 'held', '')
  if move.flush or ends then
    table.insert(move.events, 1, held)
  end
  return move.events
end

local function end_attempt(job)
  if job.attempt ~= '' then
    call('HDEL', P .. 'attempts', job.attempt)
    call('SREM', P .. 'flight:' .. job.challenge, job.id)
    count(P .. 'writers', job.node, -1)
    call('HSET', job.key, 'attempt', '', 'node', '')
  end
end

local function change_state(job, move)
  if job.state == 'queued' then
    dequeue(job)
  end
  if TERMINAL[move.to] or move.to == 'queued' then
    end_attempt(job)
  end
  if move.to == 'queued' then
    enqueue(job, move.front)
  end
  call('HSET', job.key, 'state', move.to)
end

local function apply(job, move)
  local logged = log(job.execution_id, fragments(job, move))
  local opened, left = 0, 0
  if #move.fields > 0 then
    call('HSET', job.key, unpack(move.fields))
    for index = 1, #move.fields, 2 do
      if move.fields[index] == 'submission_id' then
        know_submission(tonumber(move.fields[index + 1]))
      end
    end
  end
  if move.extend ~= '' then
    call('HSET', job.key, 'order', call('HGET', job.key, 'order') .. move.extend)
  end
  if move.to then
    change_state(job, move)
    if TERMINAL[move.to] then
      opened, left, move.due = -1, -1, 0
    end
  end
  if move.due then
    call('HSET', job.key, 'due', move.due)
    set_due(job.id, move.due)
  end
  if move.done then
    opened = opened - drop_effect(move.done, job.id)
  end
  opened = opened + add_effects(job.id, move.effects, asked.now)
  return recount(job.execution_id, job.challenge, opened, left), logged
end

local rows = {}
for index, move in ipairs(asked.moves) do
  local job = load(move.job)
  if job and allowed(job, move) then
    local unfinished, logged = apply(job, move)
    tell(job.execution_id, logged)
    rows[index] = {true, job.execution_id, unfinished, logged}
  else
    rows[index] = {false, '', -1, {}}
  end
end

for _, execution in ipairs(order) do
  if #news[execution] > 0 then
    local message = nil
    for _, node in ipairs(call('SMEMBERS', execution_key(execution) .. ':watch')) do
      if node ~= asked.node then
        message = message or cmsgpack.pack({execution, news[execution]})
        call('PUBLISH', P .. 'node:' .. node, message)
      end
    end
  end
end
return reply(rows)
