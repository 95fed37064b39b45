-- What accepting and moving jobs have in common.

-- Numbers and logs events; the answer is number, text, number, text ...
local function log(execution, fragments)
  local logged = {}
  if #fragments > 0 then
    local key = execution_key(execution)
    local number = call('HINCRBY', key, 'event_no', #fragments) - #fragments
    for index, fragment in ipairs(fragments) do
      local text = string.format('{"event_no":%d,', number + index) .. fragment
      call('XADD', key .. ':events', 'MAXLEN', '~', asked.log_cap, string.format('%d-0', number + index), 'e', text)
      logged[#logged + 1] = number + index
      logged[#logged + 1] = text
    end
    local left = number == 0 and call('PTTL', key) or -1
    if left >= 0 then -- the first events of an execution that is over: they go with it
      call('PEXPIRE', key .. ':events', left)
    end
  end
  return logged
end

local function each_key(execution, act)
  local key = execution_key(execution)
  local jobs, idempotency = unpack(call('HMGET', key, 'jobs', 'idempotency'))
  for _, id in ipairs(cjson.decode(jobs)) do
    act(job_key(id), true)
  end
  if idempotency ~= '' then
    act(P .. 'idem:' .. idempotency)
  end
  act(key .. ':events')
  act(key .. ':watch')
  act(key)
end

-- Nothing of the execution is open: the keys of participants go now, the rest in asked.keep ms.
local function close(execution)
  call('HSET', execution_key(execution), 'api_key', '')
  call('ZREM', P .. 'open', execution)
  each_key(execution, function(key, is_job)
    if is_job then
      call('HSET', key, 'order', '')
    end
    call('PEXPIRE', key, asked.keep)
  end)
end

local function reopen(execution)
  call('ZADD', P .. 'open', call('HGET', execution_key(execution), 'accepted_at'), execution)
  each_key(execution, function(key)
    call('PERSIST', key)
  end)
end

-- Counts what is open and not terminal; the answer is the jobs of the execution that are not terminal.
local function recount(execution, challenge, opened, unfinished)
  local key = execution_key(execution)
  if opened ~= 0 then
    local open = call('HINCRBY', key, 'open', opened)
    if open == 0 then
      close(execution)
    elseif open == opened then
      reopen(execution)
    end
  end
  if unfinished ~= 0 then
    count(P .. 'unfinished', challenge, unfinished)
    return call('HINCRBY', key, 'unfinished', unfinished)
  end
  return tonumber(call('HGET', key, 'unfinished'))
end

-- Lets a job wait; at the front, a participant who has no lane yet is next, too.
local function enqueue(job, front)
  local push = front and 'LPUSH' or 'RPUSH'
  if call(push, lane_key(job), job.id) == 1 then
    call(push, ring_key(job), job.participant_id)
  end
  call('HINCRBY', P .. 'backlog', job.challenge, 1)
end

local function dequeue(job)
  call('LREM', lane_key(job), 1, job.id)
  if call('EXISTS', lane_key(job)) == 0 then
    call('LREM', ring_key(job), 1, job.participant_id)
  end
  count(P .. 'backlog', job.challenge, -1)
end

local function set_due(id, due)
  if due == 0 then
    call('ZREM', P .. 'due', id)
  else
    call('ZADD', P .. 'due', due, id)
  end
end

-- Notes that there is a job of this submission: one bit, in a string for 8192 of them.
local function know_submission(id)
  local key = P .. 'submissions:' .. string.format('%.0f', math.floor(id / 8192))
  call('SETBIT', key, id % 8192, 1)
end

local function drop_effect(kind, id)
  local member = kind .. ':' .. id
  local key = P .. 'effect:' .. member
  local node = call('HGET', key, 'node')
  if node and node ~= '' then
    call('SREM', leased_key(node), member)
  end
  call('ZREM', P .. 'outbox', member)
  call('ZREM', P .. 'held', member)
  return call('DEL', key)
end

-- Stores effects of a job, replacing those of the same kind; the answer is how many are new.
local function add_effects(id, effects, since)
  local added = 0
  for _, effect in ipairs(effects) do
    local member = effect.kind .. ':' .. id
    added = added + 1 - drop_effect(effect.kind, id)
    call('HSET', P .. 'effect:' .. member, 'body', effect.body, 'state', 'new', 'tries', 0, 'since', since,
      'note', '', 'node', '')
    call('ZADD', P .. 'outbox', effect.due, member)
  end
  return added
end
