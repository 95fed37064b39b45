-- Stores an execution. asked: id, challenge, record, jobs, events, watcher, idempotency, since, keep, log_cap.
-- Answers with the execution's id and whether it is this one.

local known = asked.idempotency ~= '' and call('GET', P .. 'idem:' .. asked.idempotency)
if known then
  return reply({known, known == asked.id})
end
local key = execution_key(asked.id)
if call('EXISTS', key) == 1 then
  return reply({asked.id, true})
end

call('HSET', key, unpack(asked.record))
if asked.idempotency ~= '' then
  call('SET', P .. 'idem:' .. asked.idempotency, asked.id)
end
if asked.watcher ~= '' then
  call('SADD', key .. ':watch', asked.watcher)
end
log(asked.id, asked.events)

local open, unfinished = 0, 0
for _, job in ipairs(asked.jobs) do
  call('HSET', job_key(job.id), unpack(job.record))
  if job.due ~= 0 then
    set_due(job.id, job.due)
  end
  if job.submission ~= 0 then
    know_submission(job.submission)
  end
  if job.state == 'queued' then
    enqueue(job, false)
  end
  if not TERMINAL[job.state] then
    unfinished = unfinished + 1
  end
  open = open + add_effects(job.id, job.effects, asked.since)
end
if open + unfinished == 0 then
  close(asked.id)
else
  call('ZADD', P .. 'open', asked.since, asked.id)
  recount(asked.id, asked.challenge, open + unfinished, unfinished)
end
return reply({asked.id, true})
