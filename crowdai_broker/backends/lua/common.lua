-- Begins every script. ARGV: the prefix, then what the script is asked, as MessagePack; the answer is MessagePack.
-- JOB_FIELDS is put before this text. Attempt numbers, like all ids, are strings: as
-- numbers they would lose digits. No script reads the clock. Keys that are not known before the script runs
-- are made here, so a single Redis is needed (sentinels will do, a cluster will not).

local P = ARGV[1] .. ':'
local asked = cmsgpack.unpack(ARGV[2])
local call = redis.call
local TERMINAL = {complete = true, failed = true, cancelled = true}

local function reply(value)
  return cmsgpack.pack(value)
end

local function execution_key(id)
  return P .. 'x:' .. id
end

local function job_key(id)
  return P .. 'job:' .. id
end

local function ring_key(job)
  return P .. 'ring:' .. job.challenge .. ':' .. job.lane
end

local function lane_key(job)
  return P .. 'lane:' .. job.challenge .. ':' .. job.lane .. ':' .. job.participant_id
end

local function leased_key(node)
  return P .. 'node:' .. node .. ':effects'
end

-- Adds to a count in a hash and forgets it at nought.
local function count(key, field, by)
  if call('HINCRBY', key, field, by) <= 0 then
    call('HDEL', key, field)
  end
end

-- The values of a job in the order of JOB_FIELDS; nil if there is no such job.
local function job_values(id)
  local values = call('HMGET', job_key(id), unpack(JOB_FIELDS))
  if values[1] then
    return values
  end
end
