-- KEYS: meta, state, ledger, ledgerkey. ARGV: incarnation, expected head (hex), new head (hex), then per record: key, value.
local state = redis.call('HMGET', KEYS[2], 'records', 'head')
local count = tonumber(state[1] or '0') -- a count of records, far below 2^53
local head = state[2] or string.rep('0', 64)
local present = 0
for i = 4, #ARGV, 2 do
  local at = redis.call('HGET', KEYS[4], ARGV[i])
  if at then
    if redis.call('HGET', KEYS[3], at) ~= ARGV[i + 1] then
      return {'other', head, ARGV[i]}
    end
    present = present + 1
  end
end
local records = (#ARGV - 3) / 2
if present == records then
  return {'ok', head}
end
if present > 0 then
  return {'some', head, string.format('%.0f', present)}
end
if head ~= ARGV[2] then
  return {'moved', head}
end
for i = 4, #ARGV, 2 do
  count = count + 1
  local at = string.format('%.0f', count)
  redis.call('HSET', KEYS[3], at, ARGV[i + 1])
  redis.call('HSET', KEYS[4], ARGV[i], at)
end
redis.call('HSET', KEYS[2], 'records', string.format('%.0f', count), 'head', ARGV[3])
return {'ok', ARGV[3]}
