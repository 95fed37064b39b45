-- Counts for the metrics.

local held = call('ZCARD', P .. 'held')
return reply({
  effects = call('ZCARD', P .. 'outbox') + held,
  effects_held = held,
  jobs_due = call('ZCARD', P .. 'due'),
  in_flight = call('HLEN', P .. 'attempts'),
})
