-- KEYS: meta, state, halt, cause. ARGV: incarnation, reason, line.
local at = redis.call('HGET', KEYS[4], ARGV[2])
if at then
  return {'ok', at, redis.call('HGET', KEYS[3], at) or ''}
end
local count = tonumber(redis.call('HGET', KEYS[2], 'halts') or '0') + 1
at = string.format('%.0f', count)
redis.call('HSET', KEYS[3], at, ARGV[3])
redis.call('HSET', KEYS[4], ARGV[2], at)
redis.call('HSET', KEYS[2], 'halts', at, 'lifted', '0')
return {'ok', at, ARGV[3]}
