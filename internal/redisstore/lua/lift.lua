-- KEYS: meta, state, halt, cause. ARGV: incarnation, number, number+1, line.
local state = redis.call('HMGET', KEYS[2], 'halts', 'lifted')
local last = state[1] or '0'
if last == ARGV[3] and redis.call('HGET', KEYS[3], last) == ARGV[4] then
  return {'ok', last}
end
if last == '0' or state[2] == '1' then
  return {'none', last, redis.call('HGET', KEYS[3], last) or ''}
end
if last ~= ARGV[2] then
  return {'newer', last, redis.call('HGET', KEYS[3], last) or ''}
end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[2], 'halts', ARGV[3], 'lifted', '1')
redis.call('UNLINK', KEYS[4])
return {'ok', ARGV[3]}
