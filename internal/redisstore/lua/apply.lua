-- KEYS: meta, hwm, state, runs, delta, then one run per nBits.
-- ARGV: incarnation, "edge:epoch", from-1, to, slot, then per sum: key number of its run, nBits, member, work,
-- and 2^63-1 less the work: the most the sum may be before.
local hwm = redis.call('HGET', KEYS[2], ARGV[2]) or '0'
if hwm ~= ARGV[3] then
  return {'stale', hwm}
end

-- Decimal texts without leading zeros: the longer is the greater.
local function greater(a, b)
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

local closed = redis.call('HGET', KEYS[3], 'slot') or '0'
if not greater(ARGV[5], closed) then
  return {'closed', closed}
end

redis.call('HLEN', KEYS[4]) -- an error here, before any write, where it is no hash
for i = 6, #ARGV, 5 do
  for _, place in ipairs({{KEYS[tonumber(ARGV[i])], ARGV[i + 2]}, {KEYS[5], ARGV[i + 2] .. ':' .. ARGV[i + 1]}}) do
    local sum = redis.call('HGET', place[1], place[2])
    if sum then
      if not string.match(sum, '^[1-9]%d*$') then
        return {'corrupt', place[1], place[2], sum}
      end
      if greater(sum, ARGV[i + 4]) then
        return {'overflow', place[1], place[2], sum}
      end
    end
  end
end

local listed = {}
for i = 6, #ARGV, 5 do
  redis.call('HINCRBY', KEYS[tonumber(ARGV[i])], ARGV[i + 2], ARGV[i + 3])
  redis.call('HINCRBY', KEYS[5], ARGV[i + 2] .. ':' .. ARGV[i + 1], ARGV[i + 3])
  if not listed[ARGV[i + 1]] then
    listed[ARGV[i + 1]] = true
    redis.call('HSET', KEYS[4], ARGV[i + 1], '1')
  end
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
return {'ok', ARGV[4]}
