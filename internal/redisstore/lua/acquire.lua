-- KEYS: meta, state, lease. ARGV: incarnation, holder, milliseconds.
local lease = redis.call('GET', KEYS[3])
if lease then
  local token, holder = string.match(lease, '^(%d+) (.*)$')
  if holder ~= ARGV[2] then
    return {'held', holder or lease}
  end
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  return {'ok', token}
end
redis.call('HINCRBY', KEYS[2], 'fence', '1')
local token = redis.call('HGET', KEYS[2], 'fence')
redis.call('SET', KEYS[3], token .. ' ' .. ARGV[2], 'PX', ARGV[3])
return {'ok', token}
